#pragma once
// A folder for one test, and texts to put into it.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/random.h"

namespace saffron {

class Scratch {
 public:
  Scratch() : path_(testing::TempDir() + "saffron_data.XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) abort();
  }
  ~Scratch() { std::filesystem::remove_all(path_); }

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  std::string Write(const std::string& name, std::string_view bytes) const {
    std::filesystem::create_directories(std::filesystem::path(Path(name)).parent_path());
    std::ofstream(Path(name), std::ios::binary) << bytes;
    return Path(name);
  }

 private:
  std::string path_;
};

inline std::string FileBytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// `words` words drawn from a skewed vocabulary, with sentences, lines and a number now and then.
inline std::string RandomText(uint64_t seed, int words) {
  const CounterRandom random(seed, RandomPurpose::kTest);
  std::string text;
  for (int i = 0; i < words; ++i) {
    const double u = random.Uniform(2 * i);
    const auto word = static_cast<int>(400 * u * u * u);
    for (int rest = word + 26; rest > 0; rest /= 26) text += static_cast<char>('a' + rest % 26);
    const uint64_t what = random.Below(2 * i + 1, 16);
    text += what == 0 ? ".\n" : what == 1 ? ", " : what == 2 ? " 1,234.5 " : " ";
  }
  return text;
}

// Files of documents of about 120 words each, in corpus order.
inline std::vector<std::string> WriteDocuments(const Scratch& scratch, int documents,
                                               uint64_t seed = 1, int words = 120) {
  std::vector<std::string> files;
  for (int i = 0; i < documents; ++i) {
    const std::string name = "texts/" + std::to_string(1000 + i) + ".txt";
    files.push_back(scratch.Write(name, RandomText(1000 * seed + i, words)));
  }
  return files;
}

}  // namespace saffron
