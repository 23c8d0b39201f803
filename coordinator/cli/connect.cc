#include "coordinator/cli/connect.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

constexpr absl::Duration kConnectWithin = absl::Seconds(5);

// As the store resolves it, so that every name of a file finds the same neighbours.
std::string Resolved(const std::string& database) {
  std::error_code error;
  const std::filesystem::path full =
      std::filesystem::weakly_canonical(std::filesystem::absolute(database), error);
  return error ? database : full.string();
}

std::string AddressPath(const std::string& database) { return Resolved(database) + ".address"; }

// Whether a process holds the lock that a coordinator has on its database (store/file_lock.h).
bool IsServed(const std::string& database) {
  const int fd = open((Resolved(database) + ".lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool served = flock(fd, LOCK_SH | LOCK_NB) != 0;
  close(fd);
  return served;
}

Cell CellOf(const v1::QueryValue& value) {
  switch (value.kind_case()) {
    case v1::QueryValue::kInteger:
      return int64_t{value.integer()};
    case v1::QueryValue::kNumber:
      return value.number();
    case v1::QueryValue::kText:
      return value.text();
    case v1::QueryValue::kBlob: {
      std::string literal = "x'";
      for (const unsigned char byte : value.blob())
        absl::StrAppend(&literal, absl::Hex(byte, absl::kZeroPad2));
      return literal + "'";
    }
    case v1::QueryValue::KIND_NOT_SET:
      break;
  }
  return std::monostate();
}

class RemoteSource : public ReadSource {
 public:
  explicit RemoteSource(Coordinator coordinator) : coordinator_(std::move(coordinator)) {}

  absl::StatusOr<ResultTable> Query(std::string_view sql, absl::Duration time_limit) override {
    v1::QueryRequest request;
    request.set_sql(std::string(sql));
    const int64_t seconds = absl::ToInt64Seconds(time_limit);
    request.mutable_time_limit()->set_seconds(seconds);
    request.mutable_time_limit()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(time_limit - absl::Seconds(seconds))));
    const auto context = Coordinator::Context(time_limit + absl::Seconds(30));
    const auto reader = coordinator_.stub->Query(context.get(), request);
    ResultTable table;
    v1::QueryRows part;
    while (reader->Read(&part)) {
      if (table.columns.empty()) table.columns.assign(part.columns().begin(), part.columns().end());
      for (const v1::QueryRow& row : part.rows()) {
        std::vector<Cell>& cells = table.rows.emplace_back();
        for (const v1::QueryValue& value : row.values()) cells.push_back(CellOf(value));
      }
    }
    RETURN_IF_ERROR(coordinator_.StatusOf(reader->Finish()));
    return table;
  }

  std::string Where() const override {
    return absl::StrCat("the coordinator at ", coordinator_.address);
  }
  std::string Flags() const override {
    return absl::StrCat("--coordinator ", coordinator_.address);
  }

 private:
  Coordinator coordinator_;
};

}  // namespace

absl::Status StatusFromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

AddressFile::AddressFile(const std::string& database, const std::string& address)
    : path_(AddressPath(database)) {
  std::ofstream(path_, std::ios::trunc) << address << "\n";
}

AddressFile::~AddressFile() { std::remove(path_.c_str()); }

std::optional<std::string> ServingAddress(const std::string& database) {
  if (!IsServed(database)) return std::nullopt;
  std::string address;
  std::ifstream(AddressPath(database)) >> address;
  if (address.empty()) return std::nullopt;
  return address;
}

std::unique_ptr<grpc::ClientContext> Coordinator::Context(absl::Duration within) {
  auto context = std::make_unique<grpc::ClientContext>();
  if (within != absl::InfiniteDuration()) {
    context->set_deadline(absl::ToChronoTime(absl::Now() + within));
  }
  return context;
}

absl::Status Coordinator::StatusOf(const grpc::Status& status) const {
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return StatusFromGrpc(status);
  return absl::UnavailableError(
      absl::StrCat("no coordinator answers at ", address, " (", status.error_message(), ")"));
}

absl::StatusOr<Coordinator> ConnectToCoordinatorOf(const Cli& cli) {
  const std::optional<std::string> serving =
      cli.coordinator.empty() ? ServingAddress(cli.database) : std::nullopt;
  const std::string address = !cli.coordinator.empty() ? cli.coordinator
                              : serving.has_value()    ? *serving
                                                       : kDefaultAddress;
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(absl::ToChronoTime(absl::Now() + kConnectWithin))) {
    return absl::UnavailableError(absl::StrCat(
        "no coordinator answers at ", address,
        cli.coordinator.empty() ? absl::StrCat(", and none is serving ", cli.database) : "",
        "; start one with 'saffron serve', or name it with --coordinator HOST:PORT"));
  }
  return Coordinator{address, v1::RoadmapService::NewStub(channel)};
}

absl::StatusOr<std::unique_ptr<ReadSource>> OpenSource(const Cli& cli) {
  if (cli.coordinator.empty()) return OpenLocalSource(cli.database, PlaceFlags(cli));
  ASSIGN_OR_RETURN(Coordinator coordinator, ConnectToCoordinatorOf(cli));
  return std::make_unique<RemoteSource>(std::move(coordinator));
}

std::string PlaceFlags(const Cli& cli) {
  if (!cli.coordinator.empty()) return absl::StrCat("--coordinator ", cli.coordinator);
  return cli.database == Cli().database ? "" : absl::StrCat("--db ", cli.database);
}

}  // namespace saffron
