# SPDX-License-Identifier: GPL-3.0-or-later
"""``python idle.py WAKEUPS_PER_S SECONDS``: the CPU, in percent of a core, of an asyncio loop that does nothing but wake up.

Runs with every Python that the service runs with, as a script: it imports nothing of this package.
"""

import asyncio
import sys
import time


async def idle(wakeups_per_s, seconds):
    """CPU seconds per second, in percent."""
    loop = asyncio.get_running_loop()
    done, end, spent = loop.create_future(), loop.time() + seconds, time.process_time()

    def wake():
        if loop.time() < end:
            loop.call_later(1 / wakeups_per_s, wake)
        else:
            done.set_result(None)

    wake()
    await done
    return 100 * (time.process_time() - spent) / seconds


if __name__ == "__main__":
    print(asyncio.run(idle(float(sys.argv[1]), float(sys.argv[2]))))
