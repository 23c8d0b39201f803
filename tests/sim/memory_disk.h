#pragma once
// A disk for SQLite that exists in memory and goes wrong on command: it fills up, refuses writes or
// syncs, lies about syncs, and stops in the middle of a transaction, after which a restart finds
// what a killed process leaves behind (every write) or what a power cut does (synced writes, and of
// the others any, none, or torn pieces).
//
// The model of durability is that of a journalling file system: a write is safe once its file was
// synced; a new file with the first sync of it; a deletion at once when the folder is synced with
// it, else at the next sync of any file in it. Unsynced writes survive a power cut sector by
// sector, in any combination.
//
// SQLite sees it as the default VFS while an instance lives. One at a time, one thread.

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace saffron {

class MemoryDisk {
 public:
  MemoryDisk();
  ~MemoryDisk();
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;

  // ---- Faults
  // Every write fails with the code (SQLITE_FULL, SQLITE_IOERR_WRITE) from now on; SQLITE_OK: none.
  void FailWrites(int code) { write_code_ = code; }
  void FailSyncs(bool fail) { syncs_fail_ = fail; }
  // A sync does nothing and claims success.
  void LieAboutSyncs(bool lie) { syncs_lie_ = lie; }
  // The machine stops after so many more operations (writes, syncs, truncations, deletions); what
  // comes later fails and leaves no trace. Negative: never.
  void DieAfter(int64_t operations) { die_at_ = operations < 0 ? -1 : operations_ + operations; }
  bool dead() const { return die_at_ >= 0 && operations_ >= die_at_; }
  int64_t operations() const { return operations_; }

  // ---- After every connection was closed
  // A new process on a machine that stayed up: every write is there.
  void RestartProcess();
  // A new process after a power cut. `uniform` gives numbers in [0, 1) that decide what became of
  // unsynced writes. Returns how many were lost or torn.
  int RestartMachine(const std::function<double()>& uniform);

  // A sound disk with these files, all synced.
  using Files = std::map<std::string, std::string>;
  Files Copy() const;
  void Load(const Files& files);

 private:
  friend struct MemoryVfs;
  struct Write {  // not synced yet
    size_t offset = 0;
    std::string before, after;  // `after` empty and cut: a truncation to `offset`
    bool cut = false;
  };
  struct File {
    std::string bytes;
    std::vector<Write> unsynced;
    bool created_unsynced = false;
    // Locks of the connections on it.
    int shared = 0;
    const void *reserved = nullptr, *exclusive = nullptr;
    // The index of the write-ahead log.
    std::vector<std::unique_ptr<char[]>> regions;
    int region_users = 0;
    int shared_slots[SQLITE_SHM_NLOCK] = {};
    const void* exclusive_slots[SQLITE_SHM_NLOCK] = {};
  };

  bool Operate();  // counts one; false once dead
  void Synced(File* file);
  static int Tear(File* file, const std::function<double()>& uniform);

  std::map<std::string, std::shared_ptr<File>> files_;
  std::map<std::string, std::shared_ptr<File>> deleted_;  // and not known to be so by the disk
  int write_code_ = SQLITE_OK;
  bool syncs_fail_ = false, syncs_lie_ = false;
  int64_t operations_ = 0, die_at_ = -1;
  uint64_t drawn_ = 0;
  sqlite3_vfs* base_;
  std::unique_ptr<sqlite3_vfs> vfs_;
};

}  // namespace saffron
