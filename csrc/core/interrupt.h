// Loops that may never end ask now and then whether somebody wants them to.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>

namespace evolute {

// Set by the host of the library; throws to end what is running. Null: nobody asks.
inline std::atomic<void (*)()> interrupt_check{nullptr};

// To be called at every step, on the thread that runs the loop; asks every tenth of a second.
class InterruptPoll {
 public:
  void operator()() {
    if (--left_ > 0) return;
    const auto now = Clock::now();
    left_ = now - looked_ < kPause / 100 ? std::min(2 * stride_, 1024) : 1;  // steps until the clock is read again
    stride_ = left_;
    looked_ = now;
    if (now - asked_ < kPause) return;
    asked_ = now;
    if (auto* check = interrupt_check.load(std::memory_order_relaxed)) check();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kPause{100};
  Clock::time_point looked_ = Clock::now(), asked_ = looked_;
  int stride_ = 1, left_ = 1;
};

}  // namespace evolute
