#include "worker/frame.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

class FrameTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_), 0); }
  void TearDown() override {
    close(ends_[0]);
    if (ends_[1] >= 0) close(ends_[1]);
  }
  int ends_[2];
};

TEST_F(FrameTest, FramesArriveWholeAndInOrderWhateverTheirSize) {
  const std::string big(3 << 20, 'b');
  std::thread writer([&] {
    for (const std::string& frame : {std::string("one"), std::string(), big}) {
      EXPECT_TRUE(WriteFrame(ends_[1], frame).ok());
    }
  });
  FrameReader reader(ends_[0]);
  EXPECT_EQ(*reader.Next(absl::InfiniteFuture()), "one");
  EXPECT_EQ(*reader.Next(absl::InfiniteFuture()), "");
  EXPECT_EQ(*reader.Next(absl::InfiniteFuture()), big);
  writer.join();
}

TEST_F(FrameTest, WaitingEndsAtTheDeadlineAndLosesNothing) {
  FrameReader reader(ends_[0]);
  ASSERT_EQ(send(ends_[1], "\5\0\0\0he", 6, 0), 6);
  EXPECT_TRUE(absl::IsDeadlineExceeded(reader.Next(absl::Now() + absl::Milliseconds(5)).status()));
  ASSERT_EQ(send(ends_[1], "llo", 3, 0), 3);
  EXPECT_EQ(*reader.Next(absl::InfiniteFuture()), "hello");
}

TEST_F(FrameTest, AClosedEndIsUnavailableToReadAndToWrite) {
  close(ends_[1]);
  ends_[1] = -1;
  FrameReader reader(ends_[0]);
  EXPECT_TRUE(absl::IsUnavailable(reader.Next(absl::InfiniteFuture()).status()));
  EXPECT_TRUE(absl::IsUnavailable(WriteFrame(ends_[0], "x")));
}

TEST_F(FrameTest, AnAbsurdLengthIsDataLoss) {
  ASSERT_EQ(send(ends_[1], "\xff\xff\xff\xff", 4, 0), 4);
  FrameReader reader(ends_[0]);
  EXPECT_TRUE(absl::IsDataLoss(reader.Next(absl::InfiniteFuture()).status()));
}

}  // namespace
}  // namespace saffron
