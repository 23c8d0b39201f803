#pragma once
// Propagating absl::Status without a ladder of ifs.

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define SAFFRON_CONCAT_INNER_(a, b) a##b
#define SAFFRON_CONCAT_(a, b) SAFFRON_CONCAT_INNER_(a, b)

// Returns from the enclosing function if `expr` (an absl::Status) is not OK.
#define RETURN_IF_ERROR(expr)                                                             \
  do {                                                                                    \
    if (::absl::Status status_macro_ = (expr); !status_macro_.ok()) return status_macro_; \
  } while (false)

// Evaluates `expr` (an absl::StatusOr<T>); returns its error or assigns its value to `lhs`.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_IMPL_(SAFFRON_CONCAT_(status_or_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr)   \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = std::move(tmp).value()
