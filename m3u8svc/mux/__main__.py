"""
The muxing child: ``python -I -u -m m3u8svc.mux PARENT_PID``. Reads orders, writes one MP4, tells how it went.

Exit status 0: done or failed with a report; 3: nobody waits for us any more. Anything else is a death.
"""

import errno
import os
import sys

from m3u8svc.mux.box import enter_box


def main() -> int:
    """
    One job, from its first line to its end.
    """
    # Reports keep the pipe to themselves: whatever a library prints goes to standard error.
    reports = os.dup(1)
    os.dup2(2, 1)
    os.chdir("/")  # away from where the service was started, which may be a disk somebody wants to unmount
    missing = enter_box(int(sys.argv[1]))
    # libav is loaded with its memory limited already.
    from m3u8svc.mux.job import carry_out
    from m3u8svc.mux.protocol import Fault, Inbox, Outbox, ParentGone, Refused

    inbox, outbox = Inbox(sys.stdin.buffer), Outbox(reports)
    try:
        outbox.ready()
        carry_out(inbox, outbox, missing)
    except (ParentGone, BrokenPipeError):
        return 3
    except Refused as refusal:
        outbox.failed(refusal.fault, refusal.reason)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fault = Fault.DISK_FULL if full else Fault.DISK_ERROR
        outbox.failed(fault, error.strerror or str(error), number=error.errno or 0)
    return 0


if __name__ == "__main__":
    # Skip interpreter shutdown: libav objects in reference cycles are freed in no particular order there.
    status = main()
    sys.stderr.flush()
    os._exit(status)
