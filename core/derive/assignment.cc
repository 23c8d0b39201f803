#include "core/derive/assignment.h"

#include <limits>

#include "core/base/check.h"

namespace saffron {
namespace {

// Rows are added one by one. Potentials u (rows) and v (columns) keep cost(i, j) - u_i - v_j >= 0,
// and 0 where row i has column j, so that what is matched is always the cheapest for its rows.
class Assignment {
 public:
  explicit Assignment(const Matrix<double>& cost)
      : cost_(cost), n_(static_cast<int>(cost.rows())), u_(n_, 0.0), v_(n_, 0.0), row_of_(n_, -1) {}

  void Add(int row) {
    std::vector<double> slack(n_, std::numeric_limits<double>::infinity());
    std::vector<int> before(n_, -1);  // the column that a path comes from; -1: from `row`
    std::vector<bool> reached(n_, false);
    std::vector<int> path;  // columns whose slack has become 0, all matched
    int at = row, last = -1;
    while (at >= 0) {
      int next = -1;
      for (int j = 0; j < n_; ++j) {
        if (reached[j]) continue;
        const double reduced = cost_(at, j) - u_[at] - v_[j];
        if (reduced < slack[j]) {
          slack[j] = reduced;
          before[j] = last;
        }
        if (next < 0 || slack[j] < slack[next]) next = j;
      }
      const double delta = slack[next];
      u_[row] += delta;
      for (const int j : path) {
        u_[row_of_[j]] += delta;
        v_[j] -= delta;
      }
      for (int j = 0; j < n_; ++j) {
        if (!reached[j]) slack[j] -= delta;
      }
      reached[next] = true;
      path.push_back(next);
      last = next;
      at = row_of_[next];
    }
    for (; last >= 0; last = before[last]) {
      row_of_[last] = before[last] >= 0 ? row_of_[before[last]] : row;
    }
  }

  const std::vector<int>& row_of() const { return row_of_; }

 private:
  const Matrix<double>& cost_;
  const int n_;
  std::vector<double> u_, v_;
  std::vector<int> row_of_;  // of each column; -1: none yet
};

}  // namespace

std::vector<int> CheapestAssignment(const Matrix<double>& cost) {
  CHECK(cost.rows() == cost.cols()) << cost.rows() << " rows for " << cost.cols() << " columns";
  CHECK(cost.allFinite()) << "costs must be numbers";
  Assignment assignment(cost);
  for (int row = 0; row < static_cast<int>(cost.rows()); ++row) assignment.Add(row);
  return assignment.row_of();
}

}  // namespace saffron
