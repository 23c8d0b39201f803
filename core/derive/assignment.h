#pragma once
// The linear assignment problem, exactly.

#include <vector>

#include "core/math/matrix.h"

namespace saffron {

// Of a square cost[n, n] of finite numbers, the rows r[0..n) that minimise sum_j cost(r[j], j),
// each row once. Shortest augmenting paths with potentials (Kuhn, 1955; Jonker & Volgenant, "A
// shortest augmenting path algorithm for dense and sparse linear assignment problems", Computing
// 38, 1987): O(n^3) time, O(n) memory. Between equals always the same choice.
std::vector<int> CheapestAssignment(const Matrix<double>& cost);

}  // namespace saffron
