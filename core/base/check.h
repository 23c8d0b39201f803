#pragma once
// CHECK for our own mistakes: prints file, line, condition and what was streamed, then aborts. The
// world's mistakes are absl::Status.

#include <sstream>
#include <string>

namespace saffron {

// Prints and aborts when destroyed. Made by CHECK alone.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  CheckFailure(const CheckFailure&) = delete;
  CheckFailure& operator=(const CheckFailure&) = delete;
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

// Gives both branches of CHECK's conditional the type void.
struct CheckVoidify {
  void operator&(std::ostream&) const {}
};

}  // namespace saffron

// CHECK(rows > 0) << "empty batch at step " << step;
#define CHECK(condition)                              \
  (__builtin_expect(static_cast<bool>(condition), 1)) \
      ? (void)0                                       \
      : ::saffron::CheckVoidify() &                   \
            ::saffron::CheckFailure(__FILE__, __LINE__, #condition).stream()
