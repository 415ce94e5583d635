import { closeSync, openSync } from 'node:fs';
import { check, libc } from '../ffi/libc.ts';

/** `CLONE_NEWNET` of include/uapi/linux/sched.h. */
const CLONE_NEWNET = 0x4000_0000;

/**
 * Runs a function with this thread in another network namespace and comes back. What is made inside (sockets, links, tc filters)
 * stays there. Needs CAP_SYS_ADMIN in both.
 *
 * `run` must be synchronous and must not start threads: no await, no Worker, no first use of an async fs or `.async` FFI call.
 * setns(2) is per thread, and a thread made meanwhile would live in the foreign namespace for ever. If the way back fails, the
 * process is aborted: an agent in the wrong namespace would report one pod's data as the node's.
 *
 * @param target path of a namespace file (`/proc/PID/ns/net`, `/run/netns/NAME`) or an open descriptor of one.
 * @throws the system's error when the namespace is gone (ENOENT) or may not be entered (EPERM).
 */
export function inNetns<T>(target: string | number, run: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const there = typeof target === 'number' ? target : openSync(target, 'r');
    try {
      check(`setns ${target}`, libc.setns(there, CLONE_NEWNET));
      try {
        const result = run();
        if (result instanceof Promise)
          throw new TypeError('The function run in another network namespace is asynchronous.');
        return result;
      } finally {
        if (libc.setns(home, CLONE_NEWNET) < 0) process.abort();
      }
    } finally {
      if (typeof target === 'string') closeSync(there);
    }
  } finally {
    closeSync(home);
  }
}
