#pragma once
// Files that are their process's own while it lives, which a lock (flock) says, and an orphan
// afterwards, which another process takes over and removes.
//
// Between making a file and locking it there is a moment in which it looks like an orphan. So
// whoever has the lock looks whether the path still names the file: if not, the other one had it
// first, and has removed it.

#include <string>

namespace saffron {

// Opens `path` to read and write, makes it where it is missing, and locks it; `flags` are further
// ones of open(2). Waits for a process that takes it for an orphan. Returns the descriptor (closing
// it frees the lock), or -1 with errno (ENOENT: its folder is gone). Where the file system has no
// locks the file is opened without: nobody can take it over there.
int OpenOwned(const std::string& path, int flags = 0);

// The same of a file whose process is gone; -1 where it lives or the file is gone.
int OpenOrphan(const std::string& path);

}  // namespace saffron
