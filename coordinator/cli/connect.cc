#include "coordinator/cli/connect.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "coordinator/store/filesystem.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"
#include "core/base/status_macros.h"
#include "worker/worker.h"

namespace saffron {
namespace {

constexpr absl::Duration kSayWaitingAfter = absl::Seconds(1);
constexpr absl::Duration kTryAgainAfter = absl::Milliseconds(100);

// As a shell reads it back as one word.
std::string ShellWord(const std::string& text) {
  const bool is_plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("_-./:@%+=,", absl::string_view(&c, 1));
  });
  return is_plain ? text : absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// As the store resolves it, so that every name of a file finds the same neighbours.
std::string Resolved(const std::string& database) {
  std::error_code error;
  std::filesystem::path full = std::filesystem::absolute(database, error);
  if (!error) full = std::filesystem::weakly_canonical(full, error);
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

// Where to look for the coordinator that `cli` means.
struct Place {
  std::string address;   // empty: nowhere
  std::string what;      // "answers at ADDRESS": what a coordinator there would do
  bool guessed = false;  // nobody named it
};

Place PlaceOf(const Cli& cli) {
  const std::string answers = "answers at ";
  if (!cli.coordinator.empty()) return {cli.coordinator, answers + cli.coordinator};
  const std::string serves = absl::StrCat("is serving ", cli.database);
  if (const auto serving = ServingAddress(cli.database); serving.has_value()) {
    return {*serving, absl::StrCat(answers, *serving, ", where ", cli.database, " is served")};
  }
  // A database that was named is not exchanged for whichever is served at the default address.
  if (cli.database != kDefaultDatabase) return {"", serves};
  return {kDefaultAddress, absl::StrCat(serves, ", and none ", answers, kDefaultAddress), true};
}

// FAILED_PRECONDITION: no coordinator can ever serve such a file. OK where one may be about to.
absl::Status CheckServable(const std::string& database) {
  ASSIGN_OR_RETURN(const bool is_there, FindDatabaseFile(database));
  if (!is_there) return absl::OkStatus();
  ASSIGN_OR_RETURN(Database db, Database::Open(database, Database::Mode::kReadOnly));
  const absl::Status status = ReadSchemaVersion(db, database).status();
  return absl::IsFailedPrecondition(status) ? status : absl::OkStatus();
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
  // Renamed into place: whoever reads it meanwhile sees no half of it.
  const std::string written = absl::StrCat(path_, ".", getpid());
  std::ofstream(written, std::ios::trunc) << address << "\n";
  std::rename(written.c_str(), path_.c_str());
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
  const bool answered = !status.error_details().empty();  // status_map.h
  if (!answered && status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return absl::UnavailableError(
        absl::StrCat("the coordinator at ", address, " does not answer in time"));
  }
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE) return StatusFromGrpc(status);
  return absl::UnavailableError(
      absl::StrCat(answered ? "not now, says the coordinator at " : "no coordinator answers at ",
                   address, answered ? ": " : " (", status.error_message(), answered ? "" : ")"));
}

absl::StatusOr<Coordinator> ConnectToCoordinatorOf(const Cli& cli, absl::Duration within) {
  const absl::Time begun = absl::Now();
  for (bool said = false;; absl::SleepFor(kTryAgainAfter)) {
    const Place place = PlaceOf(cli);  // may change: a coordinator says where it is once it serves
    if (!place.address.empty()) {
      const auto channel = ConnectToCoordinator(place.address);
      if (channel->WaitForConnected(absl::ToChronoTime(absl::Now() + kSayWaitingAfter))) {
        if (place.guessed) {
          PrintMessage(absl::StrCat("no coordinator is serving ", cli.database,
                                    "; asking the one at ", place.address));
        }
        return Coordinator{place.address, v1::RoadmapService::NewStub(channel)};
      }
    } else {
      RETURN_IF_ERROR(CheckServable(cli.database));
    }
    if (absl::Now() - begun >= within) {
      return absl::UnavailableError(absl::StrCat(
          "no coordinator ", place.what,
          "; start one with 'saffron serve', or name it with --coordinator HOST:PORT"));
    }
    if (!said && absl::Now() - begun >= kSayWaitingAfter) {
      said = true;
      PrintMessage(absl::StrCat("no coordinator ", place.what, " yet; waiting a moment"));
    }
  }
}

absl::StatusOr<std::unique_ptr<ReadSource>> OpenSource(const Cli& cli) {
  if (cli.coordinator.empty()) return OpenLocalSource(cli.database, PlaceFlags(cli));
  ASSIGN_OR_RETURN(Coordinator coordinator, ConnectToCoordinatorOf(cli));
  return std::make_unique<RemoteSource>(std::move(coordinator));
}

std::string PlaceFlags(const Cli& cli) {
  if (!cli.coordinator.empty()) return absl::StrCat("--coordinator ", cli.coordinator);
  return cli.database == Cli().database ? "" : absl::StrCat("--db ", ShellWord(cli.database));
}

}  // namespace saffron
