#include "tests/sim/memory_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "core/base/check.h"
#include "core/base/random.h"

namespace saffron {
namespace {

constexpr size_t kSector = 512;
constexpr int kRegionBytes = 32768;

}  // namespace

// What SQLite calls. A connection to a file is a Handle, made in the memory that SQLite provides.
struct MemoryVfs {
  using File = MemoryDisk::File;

  struct Handle {
    sqlite3_file base;
    MemoryDisk* disk;
    std::shared_ptr<File> file;
    int level;  // SQLITE_LOCK_*
    bool uses_regions;
    unsigned shared_slots, exclusive_slots;
  };
  static Handle& Of(sqlite3_file* file) { return *reinterpret_cast<Handle*>(file); }
  static MemoryDisk& DiskOf(sqlite3_vfs* vfs) { return *static_cast<MemoryDisk*>(vfs->pAppData); }

  // ---- Files
  static int Close(sqlite3_file* f) {
    Handle& h = Of(f);
    Unlock(f, SQLITE_LOCK_NONE);
    if (h.uses_regions) ShmUnmap(f, 0);
    h.file.~shared_ptr<File>();
    return SQLITE_OK;
  }
  static int Read(sqlite3_file* f, void* out, int count, sqlite3_int64 offset) {
    const std::string& bytes = Of(f).file->bytes;
    const size_t at = std::min<size_t>(offset, bytes.size());
    const size_t n = std::min<size_t>(count, bytes.size() - at);
    std::memcpy(out, bytes.data() + at, n);
    if (n == static_cast<size_t>(count)) return SQLITE_OK;
    std::memset(static_cast<char*>(out) + n, 0, count - n);
    return SQLITE_IOERR_SHORT_READ;
  }
  static int Write(sqlite3_file* f, const void* data, int count, sqlite3_int64 offset) {
    Handle& h = Of(f);
    if (h.disk->write_code_ != SQLITE_OK) return h.disk->write_code_;
    if (!h.disk->Operate()) return SQLITE_IOERR_WRITE;
    std::string& bytes = h.file->bytes;
    const size_t at = offset, end = at + count;
    MemoryDisk::Write write{.offset = at, .before = {}, .after = {}};
    if (at < bytes.size()) write.before = bytes.substr(at, count);
    write.after.assign(static_cast<const char*>(data), count);
    if (bytes.size() < end) bytes.resize(end);
    std::memcpy(bytes.data() + at, data, count);
    h.file->unsynced.push_back(std::move(write));
    return SQLITE_OK;
  }
  static int Truncate(sqlite3_file* f, sqlite3_int64 size) {
    Handle& h = Of(f);
    if (!h.disk->Operate()) return SQLITE_IOERR_TRUNCATE;
    std::string& bytes = h.file->bytes;
    if (static_cast<size_t>(size) >= bytes.size()) return SQLITE_OK;
    h.file->unsynced.push_back({.offset = static_cast<size_t>(size),
                                .before = bytes.substr(size),
                                .after = {},
                                .cut = true});
    bytes.resize(size);
    return SQLITE_OK;
  }
  static int Sync(sqlite3_file* f, int) {
    Handle& h = Of(f);
    if (!h.disk->Operate()) return SQLITE_IOERR_FSYNC;
    if (h.disk->syncs_fail_) return SQLITE_IOERR_FSYNC;
    if (!h.disk->syncs_lie_) h.disk->Synced(h.file.get());
    return SQLITE_OK;
  }
  static int FileSize(sqlite3_file* f, sqlite3_int64* size) {
    *size = static_cast<sqlite3_int64>(Of(f).file->bytes.size());
    return SQLITE_OK;
  }

  // ---- Locks of the database file
  static int Lock(sqlite3_file* f, int level) {
    Handle& h = Of(f);
    File& file = *h.file;
    if (level <= h.level) return SQLITE_OK;
    if (file.exclusive != nullptr && file.exclusive != f) return SQLITE_BUSY;
    if (level >= SQLITE_LOCK_RESERVED) {
      if (file.reserved != nullptr && file.reserved != f) return SQLITE_BUSY;
      if (level == SQLITE_LOCK_EXCLUSIVE && file.shared > (h.level >= SQLITE_LOCK_SHARED ? 1 : 0)) {
        return SQLITE_BUSY;
      }
    }
    if (h.level < SQLITE_LOCK_SHARED) ++file.shared;
    if (level >= SQLITE_LOCK_RESERVED) file.reserved = f;
    if (level == SQLITE_LOCK_EXCLUSIVE) file.exclusive = f;
    h.level = level;
    return SQLITE_OK;
  }
  static int Unlock(sqlite3_file* f, int level) {
    Handle& h = Of(f);
    File& file = *h.file;
    if (level >= h.level) return SQLITE_OK;
    if (file.reserved == f) file.reserved = nullptr;
    if (file.exclusive == f) file.exclusive = nullptr;
    if (level == SQLITE_LOCK_NONE && h.level >= SQLITE_LOCK_SHARED) --file.shared;
    h.level = level;
    return SQLITE_OK;
  }
  static int CheckReservedLock(sqlite3_file* f, int* held) {
    *held = Of(f).file->reserved != nullptr;
    return SQLITE_OK;
  }
  static int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int SectorSize(sqlite3_file*) { return 4096; }
  // A torn write harms only bytes that it writes.
  static int DeviceCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  // ---- The index of the write-ahead log, shared by the connections of the process
  static int ShmMap(sqlite3_file* f, int region, int size, int extend, void volatile** out) {
    Handle& h = Of(f);
    CHECK(size == kRegionBytes);
    if (!h.uses_regions) ++h.file->region_users;
    h.uses_regions = true;
    std::vector<std::unique_ptr<char[]>>& regions = h.file->regions;
    while (static_cast<int>(regions.size()) <= region) {
      if (extend == 0) {
        *out = nullptr;
        return SQLITE_OK;
      }
      regions.push_back(std::make_unique<char[]>(size));
    }
    *out = regions[region].get();
    return SQLITE_OK;
  }
  static int ShmLock(sqlite3_file* f, int first, int count, int flags) {
    Handle& h = Of(f);
    File& file = *h.file;
    for (int i = first; i < first + count && (flags & SQLITE_SHM_LOCK) != 0; ++i) {
      const bool mine = (h.exclusive_slots >> i & 1) != 0, share = (h.shared_slots >> i & 1) != 0;
      if (file.exclusive_slots[i] != nullptr && !mine) return SQLITE_BUSY;
      if ((flags & SQLITE_SHM_EXCLUSIVE) != 0 && file.shared_slots[i] > (share ? 1 : 0)) {
        return SQLITE_BUSY;
      }
    }
    for (int i = first; i < first + count; ++i) {
      const unsigned bit = 1u << i;
      if ((flags & SQLITE_SHM_UNLOCK) != 0) {
        if ((h.shared_slots & bit) != 0) --file.shared_slots[i];
        if ((h.exclusive_slots & bit) != 0) file.exclusive_slots[i] = nullptr;
        h.shared_slots &= ~bit;
        h.exclusive_slots &= ~bit;
      } else if ((flags & SQLITE_SHM_SHARED) != 0) {
        if ((h.shared_slots & bit) == 0) ++file.shared_slots[i];
        h.shared_slots |= bit;
      } else {
        file.exclusive_slots[i] = f;
        h.exclusive_slots |= bit;
      }
    }
    return SQLITE_OK;
  }
  static void ShmBarrier(sqlite3_file*) {}
  static int ShmUnmap(sqlite3_file* f, int) {
    Handle& h = Of(f);
    if (!h.uses_regions) return SQLITE_OK;
    ShmLock(f, 0, SQLITE_SHM_NLOCK, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
    h.uses_regions = false;
    // The first connection after the last one builds it anew.
    if (--h.file->region_users == 0) h.file->regions.clear();
    return SQLITE_OK;
  }

  // ---- Names
  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* f, int flags, int* flags_out) {
    static const sqlite3_io_methods kMethods = {2,
                                                Close,
                                                Read,
                                                Write,
                                                Truncate,
                                                Sync,
                                                FileSize,
                                                Lock,
                                                Unlock,
                                                CheckReservedLock,
                                                FileControl,
                                                SectorSize,
                                                DeviceCharacteristics,
                                                ShmMap,
                                                ShmLock,
                                                ShmBarrier,
                                                ShmUnmap,
                                                nullptr,
                                                nullptr};
    MemoryDisk& disk = DiskOf(vfs);
    f->pMethods = nullptr;
    std::shared_ptr<File> file = name == nullptr ? std::make_shared<File>() : nullptr;
    if (name != nullptr) {
      auto found = disk.files_.find(name);
      if (found != disk.files_.end()) {
        file = found->second;
      } else {
        if ((flags & SQLITE_OPEN_CREATE) == 0 || disk.dead()) return SQLITE_CANTOPEN;
        file = std::make_shared<File>();
        file->created_unsynced = true;
        disk.files_[name] = file;
      }
    }
    new (f) Handle{{&kMethods}, &disk, std::move(file), SQLITE_LOCK_NONE, false, 0, 0};
    if (flags_out != nullptr) *flags_out = flags;
    return SQLITE_OK;
  }
  static int Delete(sqlite3_vfs* vfs, const char* name, int sync_folder) {
    MemoryDisk& disk = DiskOf(vfs);
    if (!disk.Operate()) return SQLITE_IOERR_DELETE;
    auto found = disk.files_.find(name);
    if (found == disk.files_.end()) return SQLITE_IOERR_DELETE_NOENT;
    if (sync_folder == 0 && !found->second->created_unsynced) disk.deleted_[name] = found->second;
    disk.files_.erase(found);
    return SQLITE_OK;
  }
  static int Access(sqlite3_vfs* vfs, const char* name, int, int* result) {
    *result = DiskOf(vfs).files_.count(name) > 0;
    return SQLITE_OK;
  }
  static int FullPathname(sqlite3_vfs*, const char* name, int size, char* out) {
    if (static_cast<int>(std::strlen(name)) >= size) return SQLITE_CANTOPEN;
    std::strcpy(out, name);
    return SQLITE_OK;
  }
  static int Randomness(sqlite3_vfs* vfs, int size, char* out) {
    // Another one each time, and the same in a repeated simulation.
    const CounterRandom random(0, RandomPurpose::kTest);
    for (int i = 0; i < size; ++i) out[i] = static_cast<char>(random.Bits(DiskOf(vfs).drawn_++));
    return size;
  }
  static int Sleep(sqlite3_vfs*, int micros) { return micros; }
  static int CurrentTime(sqlite3_vfs*, sqlite3_int64* julian_ms) {
    *julian_ms = 212'569'056'000'000;
    return SQLITE_OK;
  }
  static int GetLastError(sqlite3_vfs* vfs, int, char*) {
    return DiskOf(vfs).write_code_ == SQLITE_FULL ? ENOSPC : EIO;
  }
};

MemoryDisk::MemoryDisk() : base_(sqlite3_vfs_find(nullptr)), vfs_(new sqlite3_vfs{}) {
  *vfs_ = *base_;
  vfs_->iVersion = 2;
  vfs_->szOsFile = sizeof(MemoryVfs::Handle);
  vfs_->zName = "memory-disk";
  vfs_->pNext = nullptr;
  vfs_->pAppData = this;
  vfs_->xOpen = MemoryVfs::Open;
  vfs_->xDelete = MemoryVfs::Delete;
  vfs_->xAccess = MemoryVfs::Access;
  vfs_->xFullPathname = MemoryVfs::FullPathname;
  vfs_->xRandomness = MemoryVfs::Randomness;
  vfs_->xSleep = MemoryVfs::Sleep;
  vfs_->xGetLastError = MemoryVfs::GetLastError;
  vfs_->xCurrentTimeInt64 = MemoryVfs::CurrentTime;
  CHECK(sqlite3_vfs_register(vfs_.get(), /*makeDflt=*/1) == SQLITE_OK);
}

MemoryDisk::~MemoryDisk() {
  sqlite3_vfs_unregister(vfs_.get());
  sqlite3_vfs_register(base_, 1);
}

bool MemoryDisk::Operate() {
  if (dead()) return false;
  ++operations_;
  return true;
}

void MemoryDisk::Synced(File* file) {
  file->unsynced.clear();
  file->created_unsynced = false;
  deleted_.clear();
}

void MemoryDisk::RestartProcess() {
  die_at_ = -1;
  for (auto& [name, file] : files_) {
    CHECK(file.use_count() == 1) << name << " is still open";
    CHECK(file->region_users == 0 && file->shared == 0) << name << " is still in use";
  }
}

int MemoryDisk::RestartMachine(const std::function<double()>& uniform) {
  RestartProcess();
  // A deletion that the disk did not hear of.
  for (auto& [name, file] : deleted_) {
    if (uniform() < 0.5 && files_.count(name) == 0) files_[name] = file;
  }
  deleted_.clear();
  int lost = 0;
  for (auto it = files_.begin(); it != files_.end();) {
    File& file = *it->second;
    lost += Tear(&file, uniform);
    const bool vanished = file.created_unsynced && uniform() < 0.5;
    file.created_unsynced = false;
    it = vanished ? files_.erase(it) : std::next(it);
  }
  return lost;
}

int MemoryDisk::Tear(File* file, const std::function<double()>& uniform) {
  std::vector<Write> writes = std::exchange(file->unsynced, {});
  std::string& bytes = file->bytes;
  for (auto write = writes.rbegin(); write != writes.rend(); ++write) {
    bytes.resize(write->cut ? write->offset : std::max(bytes.size(), write->offset));
    if (write->cut) {
      bytes += write->before;
    } else {
      // What lay beyond the old end did not exist.
      if (write->before.size() < write->after.size()) {
        bytes.resize(write->offset + write->before.size());
      }
      bytes.replace(write->offset, write->before.size(), write->before);
    }
  }
  // Often all or nothing, sometimes piece by piece.
  const double survives = uniform() < 0.5 ? uniform() : uniform() < 0.5 ? 0 : 1;
  int lost = 0;
  for (const Write& write : writes) {
    if (write.cut) {
      if (uniform() < survives) bytes.resize(std::min(bytes.size(), write.offset));
      continue;
    }
    for (size_t at = 0; at < write.after.size();) {
      const size_t sector_end = (write.offset + at) / kSector * kSector + kSector - write.offset;
      const size_t n = std::min(sector_end, write.after.size()) - at;
      if (uniform() < survives) {
        if (bytes.size() < write.offset + at + n) bytes.resize(write.offset + at + n);
        bytes.replace(write.offset + at, n, write.after, at, n);
      } else {
        ++lost;
      }
      at += n;
    }
  }
  return lost;
}

MemoryDisk::Files MemoryDisk::Copy() const {
  Files files;
  for (const auto& [name, file] : files_) files[name] = file->bytes;
  return files;
}

void MemoryDisk::Load(const Files& files) {
  RestartProcess();
  files_.clear();
  deleted_.clear();
  write_code_ = SQLITE_OK;
  syncs_fail_ = syncs_lie_ = false;
  drawn_ = 0;
  for (const auto& [name, bytes] : files) {
    files_[name] = std::make_shared<File>();
    files_[name]->bytes = bytes;
  }
}

}  // namespace saffron
