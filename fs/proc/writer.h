/*
 * writer: who opened a file for writing, who is closing it, and how did they die.
 *
 * A struct writer remembers the process that opened a handle (thread group,
 * pidfd where the kernel has it). FUSE names threads; /proc/TID/status tells
 * the thread group. All functions may be called from any thread and block on
 * procfs at most; none waits for the process it asks about, not even when that
 * is inside execve() and closes its close-on-exec files (a plain read of
 * /proc/PID/stat would wait there for the reply to that very FLUSH).
 * A struct writer is used by one thread at a time, except writer_fate(), which
 * may run in several. It holds one file descriptor, the pidfd.
 */
#ifndef UPLOADFS_FS_PROC_WRITER_H
#define UPLOADFS_FS_PROC_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct writer;

/*
 * The process of thread tid opens now. tid 0 (a process in another pid
 * namespace): a writer that is known by its lock owner only. NULL: no memory.
 */
struct writer *writer_new(pid_t tid);
void writer_free(struct writer *w); /* NULL is a no-op */

/* The lock owner of a write or flush through the handle; the first one is remembered. */
void writer_note_owner(struct writer *w, uint64_t lock_owner);

/*
 * Does the close by thread tid come from the process that opened the handle?
 * Where tid is 0 or the process can't be told, the lock owner decides; where
 * that is not known either, true.
 */
bool writer_is_opener(struct writer *w, pid_t tid, uint64_t lock_owner);

enum writer_fate {
	WRITER_ALIVE,  /* an ordinary close() */
	WRITER_EXITED, /* closes because it exits, with any exit code */
	WRITER_KILLED  /* closes because a signal ends it (also abort(), OOM kill) */
};
/*
 * What the close by closing_tid means: WRITER_KILLED when that thread, or the
 * process that opened the handle, is or was ended by a signal (or is about to
 * be: one is pending); else how the closing thread's process stands when it is
 * the opener, else the opener. closing_tid 0 (RELEASE has no thread; a process
 * in another pid namespace) asks for the opener alone; an opener that was never
 * seen is WRITER_ALIVE.
 * Sources: /proc/TID/status and stat (PF_EXITING and exit_code) while a process
 * is there, its pidfd (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15) once it
 * was reaped. Gone, and nothing to be learned: WRITER_KILLED, because half a
 * file must never be published.
 */
enum writer_fate writer_fate(const struct writer *w, pid_t closing_tid);

/* The process of thread tid; 0: not known (any more). */
pid_t writer_process(pid_t tid);

/*
 * Is a signal pending for thread tid that will end its process, or is the
 * process being ended around it? For interrupted waits: nobody is left to wait.
 */
bool writer_fatal_signal(pid_t tid);

#endif
