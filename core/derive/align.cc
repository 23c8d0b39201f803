#include "core/derive/align.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/derive/assignment.h"

namespace saffron {
namespace {

// Units along one axis of a tensor: each is `block` neighbouring columns, or rows.
struct UnitAxis {
  std::string tensor;
  bool rows = false;
  int64_t block = 1;
};

// Those of `names` that the model has.
std::vector<UnitAxis> Columns(const NamedMatrices& model, const std::string& prefix,
                              std::initializer_list<const char*> names, int64_t block = 1) {
  std::vector<UnitAxis> axes;
  for (const char* name : names) {
    if (model.count(prefix + name) > 0) axes.push_back({prefix + name, false, block});
  }
  return axes;
}

std::vector<UnitAxis> IncomingAxes(const NamedMatrices& model, const std::string& prefix) {
  return Columns(model, prefix, {"w1", "b1", "w1_linear", "b1_linear", "unit_bias"});
}

// Of an MLP in a transformer.
std::vector<UnitAxis> MlpAxes(const NamedMatrices& model, const std::string& prefix) {
  std::vector<UnitAxis> axes = IncomingAxes(model, prefix);
  axes.push_back({prefix + "w2", true});
  return axes;
}

// [units of a, units of b]: inner products of all that the axes name, pair by pair; for units of a
// single column or row.
Matrix<double> Likeness(const NamedMatrices& a, const NamedMatrices& b,
                        const std::vector<UnitAxis>& axes_a, const std::vector<UnitAxis>& axes_b) {
  const auto units = [](const UnitAxis& axis, const Matrix<double>& m) {
    return axis.rows ? m.rows() : m.cols();
  };
  Matrix<double> likeness = Matrix<double>::Zero(units(axes_a[0], a.at(axes_a[0].tensor)),
                                                 units(axes_b[0], b.at(axes_b[0].tensor)));
  for (size_t i = 0; i < axes_a.size(); ++i) {
    const Matrix<double>& x = a.at(axes_a[i].tensor);
    const Matrix<double>& y = b.at(axes_b[i].tensor);
    if (axes_a[i].rows) {
      likeness.noalias() += x * y.transpose();
    } else {
      likeness.noalias() += x.transpose() * y;
    }
  }
  return likeness;
}

// The unit of a for each of b's.
std::vector<int> Match(const Matrix<double>& likeness) { return CheapestAssignment(-likeness); }

// Unit j becomes what unit from[j] was.
void Rearrange(const std::vector<int>& from, const std::vector<UnitAxis>& axes, NamedMatrices* a) {
  for (const UnitAxis& axis : axes) {
    Matrix<double>& tensor = a->at(axis.tensor);
    const Matrix<double> old = tensor;
    for (size_t j = 0; j < from.size(); ++j) {
      const auto to = static_cast<int64_t>(j) * axis.block, begin = from[j] * axis.block;
      if (axis.rows) {
        tensor.middleRows(to, axis.block) = old.middleRows(begin, axis.block);
      } else {
        tensor.middleCols(to, axis.block) = old.middleCols(begin, axis.block);
      }
    }
  }
}

AlignmentCount CountOf(const std::vector<int>& from) {
  AlignmentCount count{.units = static_cast<int64_t>(from.size())};
  for (size_t j = 0; j < from.size(); ++j) count.moved += from[j] != static_cast<int>(j) ? 1 : 0;
  return count;
}

void Add(const AlignmentCount& more, AlignmentCount* count) {
  count->units += more.units;
  count->moved += more.moved;
}

// Groups of units that are matched as wholes, units within groups.
struct GroupMatch {
  std::vector<int> group = {};  // of a, for each group of b
  // Of that group of a, for each unit of each group of b.
  std::vector<std::vector<int>> unit = {};
};

// `whole`[groups of a, groups of b] is how alike groups are apart from their units; likeness(g, h)
// is that of the units of g and h.
template <typename LikenessOf>
GroupMatch MatchGroups(Matrix<double> whole, LikenessOf likeness) {
  const auto groups = static_cast<int>(whole.rows());
  std::vector<std::vector<std::vector<int>>> units(groups);
  for (int g = 0; g < groups; ++g) {
    for (int h = 0; h < groups; ++h) {
      const Matrix<double> alike = likeness(g, h);
      units[g].push_back(Match(alike));
      for (int j = 0; j < alike.cols(); ++j) whole(g, h) += alike(units[g][h][j], j);
    }
  }
  GroupMatch match{.group = Match(whole)};
  for (int h = 0; h < groups; ++h) match.unit.push_back(std::move(units[match.group[h]][h]));
  return match;
}

AlignmentCount AlignMlp(const std::string& prefix, const NamedMatrices& b, NamedMatrices* a) {
  const std::vector<UnitAxis> axes = MlpAxes(b, prefix);
  const std::vector<int> from = Match(Likeness(*a, b, axes, axes));
  Rearrange(from, axes, a);
  return CountOf(from);
}

// What the heads of one model read and write.
class Heads {
 public:
  Heads(const NamedMatrices& model, const std::string& prefix, const TransformerLayerShape& layer)
      : layer_(layer),
        q_(WithBias(model, prefix + "wq", prefix + "bq")),
        k_(WithBias(model, prefix + "wk", prefix + "bk")),
        v_(WithBias(model, prefix + "wv", prefix + "bv")),
        o_(model.at(prefix + "wo")) {}

  // <Q_e K_e', Q_f K_f'> + <V_e O_e, V_f O_f> of head e here and head f there.
  double Likeness(int e, const Heads& there, int f) const {
    const Matrix<double> q =
        Part(q_, e, layer_.key_dim).transpose() * there.Part(there.q_, f, layer_.key_dim);
    const Matrix<double> k =
        Part(k_, Kv(e), layer_.key_dim).transpose() * there.Part(there.k_, Kv(f), layer_.key_dim);
    const Matrix<double> v = Part(v_, Kv(e), layer_.value_dim).transpose() *
                             there.Part(there.v_, Kv(f), layer_.value_dim);
    const Matrix<double> o =
        o_.middleRows(e * layer_.value_dim, layer_.value_dim) *
        there.o_.middleRows(f * layer_.value_dim, layer_.value_dim).transpose();
    return q.cwiseProduct(k).sum() + v.cwiseProduct(o).sum();
  }

 private:
  static Matrix<double> WithBias(const NamedMatrices& model, const std::string& weight,
                                 const std::string& bias) {
    const Matrix<double>& w = model.at(weight);
    if (model.count(bias) == 0) return w;
    Matrix<double> both(w.rows() + 1, w.cols());
    both << w, model.at(bias);
    return both;
  }
  static Matrix<double> Part(const Matrix<double>& m, int64_t head, int64_t size) {
    return m.middleCols(head * size, size);
  }
  int Kv(int head) const { return head / (layer_.heads / layer_.kv_heads); }

  const TransformerLayerShape& layer_;
  const Matrix<double> q_, k_, v_, o_;
};

// Matching takes memory by the square of what is matched, and time by its cube; of wholes with
// units in them, by the square of the time of one.
constexpr int kUnitsMax = 8192, kWholesMax = 1024;

absl::Status CheckCount(const std::string& what, int count, int most) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": want at most ", most, " to match, got ", count));
}

absl::Status AlignHeads(const std::string& prefix, const TransformerLayerShape& layer_a,
                        const TransformerLayerShape& layer_b, const NamedMatrices& b,
                        NamedMatrices* a, AlignmentCount* count) {
  const Heads heads_a(*a, prefix, layer_a), heads_b(b, prefix, layer_b);
  RETURN_IF_ERROR(CheckCount(prefix + "heads", layer_b.heads, kWholesMax));
  const int heads = layer_b.heads, group = heads / layer_b.kv_heads;
  Matrix<double> alike(heads, heads);
  for (int e = 0; e < heads; ++e) {
    for (int f = 0; f < heads; ++f) alike(e, f) = heads_a.Likeness(e, heads_b, f);
  }
  // One pair of other slopes is worse than any matching without.
  const double penalty = 1 + 2 * alike.cwiseAbs().sum();
  const auto slope = [](const TransformerLayerShape& layer, int head) {
    return layer.alibi_slopes.empty() ? 0 : layer.alibi_slopes[head];
  };
  for (int e = 0; e < heads; ++e) {
    for (int f = 0; f < heads; ++f) {
      if (slope(layer_a, e) != slope(layer_b, f)) alike(e, f) -= penalty;
    }
  }
  const GroupMatch match =
      MatchGroups(Matrix<double>::Zero(layer_b.kv_heads, layer_b.kv_heads), [&](int g, int h) {
        return Matrix<double>(alike.block(g * group, h * group, group, group));
      });
  std::vector<int> from;
  for (int h = 0; h < layer_b.kv_heads; ++h) {
    for (const int unit : match.unit[h]) from.push_back(match.group[h] * group + unit);
  }
  for (int f = 0; f < heads; ++f) {
    if (slope(layer_a, from[f]) == slope(layer_b, f)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(prefix,
                     "alibi_slopes: the heads of one model have other slopes than those of "
                     "the other, however they are paired"));
  }
  Rearrange(match.group, Columns(b, prefix, {"wk", "bk"}, layer_b.key_dim), a);
  Rearrange(match.group, Columns(b, prefix, {"wv", "bv"}, layer_b.value_dim), a);
  Rearrange(from, Columns(b, prefix, {"wq", "bq"}, layer_b.key_dim), a);
  Rearrange(from, {{prefix + "wo", true, layer_b.value_dim}}, a);
  Add(CountOf(from), count);
  return absl::OkStatus();
}

AlignmentCount AlignExperts(const std::string& prefix, int experts, const NamedMatrices& b,
                            NamedMatrices* a) {
  const auto name = [&](int e) { return absl::StrCat(prefix, "experts.", e, "."); };
  // What is each expert's and no unit's.
  const std::vector<UnitAxis> router = {{prefix + "router"}};
  Matrix<double> whole = Likeness(*a, b, router, router);
  if (b.count(name(0) + "b2") > 0) {
    for (int e = 0; e < experts; ++e) {
      for (int f = 0; f < experts; ++f) {
        whole(e, f) += a->at(name(e) + "b2").cwiseProduct(b.at(name(f) + "b2")).sum();
      }
    }
  }
  const GroupMatch match = MatchGroups(std::move(whole), [&](int e, int f) {
    return Likeness(*a, b, MlpAxes(b, name(e)), MlpAxes(b, name(f)));
  });
  Rearrange(match.group, router, a);
  const NamedMatrices old = *a;
  AlignmentCount count = CountOf(match.group);
  for (int f = 0; f < experts; ++f) {
    for (const char* part : {"w1", "w1_linear", "w2", "b1", "b1_linear", "b2", "unit_bias"}) {
      const auto from = old.find(name(match.group[f]) + part);
      if (from != old.end()) a->at(name(f) + part) = from->second;
    }
    Rearrange(match.unit[f], MlpAxes(b, name(f)), a);
    Add(CountOf(match.unit[f]), &count);
  }
  return count;
}

void CheckAlike(const NamedMatrices& a, const NamedMatrices& b) {
  CHECK(a.size() == b.size()) << "models of " << a.size() << " and " << b.size() << " tensors";
  for (const auto& [name, tensor] : b) {
    const auto found = a.find(name);
    CHECK(found != a.end() && found->second.rows() == tensor.rows() &&
          found->second.cols() == tensor.cols())
        << name << " is not alike in both models";
  }
}

}  // namespace

AlignmentCount AlignMlpClassifier(const NamedMatrices& b, NamedMatrices* a) {
  CheckAlike(*a, b);
  AlignmentCount count;
  const auto name = [](int layer) { return absl::StrCat("layers.", layer, "."); };
  for (int layer = 0; b.count(name(layer) + "w1") > 0; ++layer) {
    std::vector<UnitAxis> axes = IncomingAxes(b, name(layer));
    const std::vector<int> from = Match(Likeness(*a, b, axes, axes));
    for (const std::string& next :
         {name(layer + 1) + "w1", name(layer + 1) + "w1_linear", std::string("readout")}) {
      const bool reads = next != "readout" || b.count(name(layer + 1) + "w1") == 0;
      if (reads && b.count(next) > 0) axes.push_back({next, true});
    }
    Rearrange(from, axes, a);
    Add(CountOf(from), &count);
  }
  return count;
}

absl::Status AlignTransformer(const TransformerShape& shape_a, const TransformerShape& shape_b,
                              const NamedMatrices& b, NamedMatrices* a, AlignmentCount* count) {
  CheckAlike(*a, b);
  for (size_t i = 0; i < shape_b.layers.size(); ++i) {
    const TransformerLayerShape& layer = shape_b.layers[i];
    const std::string name = absl::StrCat("layers.", i, ".");
    RETURN_IF_ERROR(AlignHeads(name + "attn.", shape_a.layers[i], layer, b, a, count));
    RETURN_IF_ERROR(CheckCount(name + "mlp_width", layer.mlp_width, kUnitsMax));
    RETURN_IF_ERROR(CheckCount(name + "experts", layer.moe.experts, kWholesMax));
    if (!layer.moe.sparse()) {
      Add(AlignMlp(name + "mlp.", b, a), count);
      continue;
    }
    Add(AlignExperts(name + "moe.", layer.moe.experts, b, a), count);
    if (layer.moe.dense != DensePlace::kNone) Add(AlignMlp(name + "moe.dense.", b, a), count);
  }
  return absl::OkStatus();
}

}  // namespace saffron
