#include "tests/fuzz/checkpoint_fuzz_target.h"

#include <cstdint>
#include <string>

#include "core/base/check.h"
#include "core/checkpoint/arena_tensors.h"
#include "core/checkpoint/safetensors.h"
#include "core/data/utf8.h"
#include "core/derive/growable_file.h"
#include "core/train/routing_file.h"
#include "core/train/training_state.h"
#include "core/transformer/shape_json.h"

namespace saffron {
namespace {

void CheckRefusal(const absl::Status& status) {
  CHECK(status.code() == absl::StatusCode::kInvalidArgument) << status;
  const std::string_view message(status.message().data(), status.message().size());
  CHECK(!message.empty() && message.size() < 10'000);
  CHECK(!FirstInvalidUtf8(message).has_value()) << message;
}

// What grows and what trials start from: a shape that says more than the file holds takes no
// memory.
void FuzzModel(const Safetensors& file, size_t data) {
  const absl::StatusOr<TransformerShape> shape = ReadShape(file);
  const absl::StatusOr<GrowableModel> model = ReadGrowable(file);
  if (!model.ok()) return CheckRefusal(model.status());
  CHECK(shape.ok()) << shape.status();
  CHECK(ShapeJson(*shape) == ShapeJson(model->shape));
  size_t numbers = 0;
  for (const ParameterTensor& tensor : LayOut(*shape).tensors) {
    numbers += static_cast<size_t>(tensor.size());
  }
  for (const StoredState& state : model->state) numbers += state.matrix.values.size();
  CHECK(numbers * sizeof(float) <= data) << numbers << " numbers in " << data << " bytes";
}

void FuzzFile(std::string_view file) {
  const absl::StatusOr<Safetensors> parsed = Safetensors::Parse(file, "fuzz");
  if (!parsed.ok()) return CheckRefusal(parsed.status());
  size_t data = 0;
  for (const auto& [name, tensor] : parsed->tensors()) {
    data += tensor.bytes.size();
    CHECK(tensor.bytes.empty() ||
          (tensor.bytes.data() >= file.data() &&
           tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size()));
  }
  CHECK(data + 8 <= file.size());
  (void)ReadCheckpointHeader(*parsed).status();
  float array[12] = {};
  const std::vector<ParameterTensor> layout = {
      {.name = "w", .rows = 2, .cols = 3, .role = TensorRole::kHidden, .block = 2},
      {.name = "bias", .begin = 8, .cols = 3}};
  (void)ReadTensors(*parsed, "", layout, absl::MakeSpan(array));
  (void)ReadDoubles(*parsed, "curve.value").status();
  for (const char* table : {"experts", "layers", "trace"}) {
    (void)ReadRouting(*parsed, table).status();
  }
  FuzzModel(*parsed, data);
}

}  // namespace

void FuzzCheckpoint(std::string_view bytes) {
  FuzzFile(bytes);
  const size_t line = std::min(bytes.find('\n'), bytes.size());
  const uint64_t length = line;
  std::string file(reinterpret_cast<const char*>(&length), 8);
  file += bytes.substr(0, line);
  if (line < bytes.size()) file += bytes.substr(line + 1);
  FuzzFile(file);
}

}  // namespace saffron

#ifdef SAFFRON_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  saffron::FuzzCheckpoint({reinterpret_cast<const char*>(data), size});
  return 0;
}
#endif
