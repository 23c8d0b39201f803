// What a worker reads from disk and from its child processes, against hostile bytes (mutator.h).

#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/check.h"
#include "core/base/digest.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "tests/fuzz/mutator.h"
#include "worker/frame.h"
#include "worker/spool.h"

namespace saffron {
namespace {

std::string LittleEndian(size_t n) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<char>(n >> (8 * i));
  return bytes;
}

v1::SpoolRecord RecordOf(int trial) {
  v1::SpoolRecord record;
  record.mutable_result()->mutable_ref()->set_trial_id(trial);
  record.mutable_result()->mutable_ref()->set_attempt(1);
  record.mutable_result()->set_outcome(v1::OUTCOME_SUCCEEDED);
  v1::Measurement* metric = record.mutable_result()->add_final_metrics();
  metric->set_key("test/perplexity");
  metric->set_value(100.0 + trial);
  record.mutable_undelivered()->mutable_ref()->set_trial_id(trial);
  for (int step = 0; step < trial; ++step) {
    record.mutable_undelivered()->add_measurements()->set_step(step);
  }
  return record;
}

// As spool.cc frames a payload.
std::string Framed(const std::string& payload) {
  return LittleEndian(payload.size()) + absl::HexStringToBytes(Sha256Hex(payload).substr(0, 16)) +
         payload;
}

std::string FileOf(int records) {
  std::string bytes;
  for (int i = 0; i < records; ++i) bytes += Framed(RecordOf(i).SerializeAsString());
  return bytes;
}

const std::vector<std::string> kWords = {LittleEndian(0),
                                         LittleEndian(1),
                                         LittleEndian(12),
                                         LittleEndian(64u << 20),
                                         LittleEndian((64u << 20) + 1),
                                         LittleEndian(~0u),
                                         std::string(12, '\0'),
                                         std::string(8, '\xFF'),
                                         "\n\x02\x08\x01"};

// Reads nothing that was not written, and what comes before the damage as it was.
void FuzzSpool(std::string_view bytes) {
  const std::vector<v1::SpoolRecord> records = ReadSpool(bytes);
  CHECK(records.size() * 12 <= bytes.size());
  // Cutting the file anywhere only takes records from its end.
  const std::vector<v1::SpoolRecord> prefix = ReadSpool(bytes.substr(0, bytes.size() / 2));
  CHECK(prefix.size() <= records.size());
  for (size_t i = 0; i < prefix.size(); ++i) {
    CHECK(prefix[i].SerializeAsString() == records[i].SerializeAsString());
  }
}

// protobuf says on stderr what it refuses.
google::protobuf::LogHandler* const kQuiet = google::protobuf::SetLogHandler(nullptr);

TEST(WorkerFuzzTest, MutatedSpoolsBreakNothing) {
  Mutator mutator(FromEnvironment("SAFFRON_FUZZ_SEED", 1),
                  {FileOf(0), FileOf(1), FileOf(3), FileOf(20)}, kWords);
  for (uint64_t i = FromEnvironment("SAFFRON_FUZZ_ITERATIONS", 20'000); i > 0; --i) {
    FuzzSpool(mutator.Next());
  }
}

TEST(WorkerFuzzTest, MutatedRecordsBehindAValidChecksumBreakNothing) {
  Mutator mutator(FromEnvironment("SAFFRON_FUZZ_SEED", 1),
                  {RecordOf(0).SerializeAsString(), RecordOf(9).SerializeAsString()}, kWords);
  for (uint64_t i = FromEnvironment("SAFFRON_FUZZ_ITERATIONS", 20'000); i > 0; --i) {
    FuzzSpool(Framed(mutator.Next()) + FileOf(1));
  }
}

// What is on disk from another worker is adopted as far as it can be read, and never twice.
TEST(WorkerFuzzTest, DamagedSpoolsOfDeadWorkersAreAdoptedOnce) {
  const std::filesystem::path dir = testing::TempDir() + "spool_fuzz";
  Mutator mutator(FromEnvironment("SAFFRON_FUZZ_SEED", 1), {FileOf(1), FileOf(5)}, kWords);
  for (uint64_t i = FromEnvironment("SAFFRON_FUZZ_ITERATIONS", 1000) / 10; i > 0; --i) {
    std::filesystem::remove_all(dir);
    std::filesystem::create_directories(dir);
    const std::string bytes = mutator.Next();
    std::ofstream(dir / "c.dead.spool", std::ios::binary) << bytes;
    Spool first(dir, "first"), second(dir, "second");
    const auto adopted = first.Open("c"), again = second.Open("c");
    CHECK(adopted.ok() && again.ok());
    CHECK(adopted->size() == ReadSpool(bytes).size());
    CHECK(again->empty());
  }
  std::filesystem::remove_all(dir);
}

TEST(WorkerFuzzTest, MutatedFramesBreakNothing) {
  const std::string small = LittleEndian(5) + "hello";
  Mutator mutator(
      FromEnvironment("SAFFRON_FUZZ_SEED", 1),
      {small, small + small + LittleEndian(0), LittleEndian(300) + std::string(300, 'x')}, kWords);
  for (uint64_t i = FromEnvironment("SAFFRON_FUZZ_ITERATIONS", 20'000); i > 0; --i) {
    const std::string bytes = mutator.Next();
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    const size_t cut = i % (bytes.size() + 1);  // arrives in two pieces
    CHECK(::send(ends[0], bytes.data(), cut, 0) == static_cast<ssize_t>(cut));
    FrameReader reader(ends[1]);
    size_t read = 0;
    absl::Status last;
    const auto drain = [&](absl::Time deadline) {
      while (last.ok()) {
        const absl::StatusOr<std::string> frame = reader.Next(deadline);
        last = frame.status();
        if (!frame.ok()) return;
        CHECK(bytes.substr(read + 4, frame->size()) == *frame);
        read += 4 + frame->size();
      }
    };
    drain(absl::InfinitePast());
    CHECK(absl::IsDeadlineExceeded(last) || absl::IsDataLoss(last)) << last;
    if (absl::IsDeadlineExceeded(last)) {
      last = absl::OkStatus();
      CHECK(::send(ends[0], bytes.data() + cut, bytes.size() - cut, 0) ==
            static_cast<ssize_t>(bytes.size() - cut));
      ::close(ends[0]);
      drain(absl::InfiniteFuture());
      CHECK(absl::IsUnavailable(last) || absl::IsDataLoss(last)) << last;
    } else {
      ::close(ends[0]);
    }
    CHECK(read <= bytes.size());
    ::close(ends[1]);
  }
}

}  // namespace
}  // namespace saffron
