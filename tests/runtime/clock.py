class Clock:
    """A clock that only `sleep` advances. `at` schedules a call; `every` repeats it."""

    def __init__(self):
        self.time, self._calls = 0.0, []

    def now(self):
        return self.time

    def sleep(self, seconds):
        end = self.time + seconds
        while due := [call for call in self._calls if call[0] <= end]:
            call = min(due, key=lambda call: call[0])
            self._calls.remove(call)
            self.time, callback = call
            callback()
        self.time = end

    def at(self, time, callback):
        self._calls.append((time, callback))

    def every(self, seconds, callback):
        self.at(self.time + seconds, lambda: (callback(), self.every(seconds, callback)))
