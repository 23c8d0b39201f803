#pragma once
// The child process behind one slot: runs one attempt after the other, as its worker orders over a
// socket pair.
//
// Trials run in processes of their own, reused from trial to trial. A crash or an out-of-memory
// kill then costs one attempt, never the worker or its neighbours; a trial that hangs can be
// killed; peak memory can be measured per trial. It costs a socket round trip (tens of
// microseconds), and statistics are shared between slots through the disk cache rather than in
// memory.

#include "worker/attempt.h"

namespace saffron {

struct SlotServerOptions {
  int fd = 3;  // our end of the socket pair
  TrialBody body;
};

// Serves until the worker closes the socket or dies; then ends the process at once, in the middle
// of a trial if need be. Never returns.
[[noreturn]] void ServeSlot(const SlotServerOptions& options);

}  // namespace saffron
