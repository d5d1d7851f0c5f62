/*
 * writer: the process that opened a file for writing, and how it or a closing process ended.
 *
 * A struct writer remembers the process that opened a handle (thread group,
 * pidfd where the kernel has it). FUSE names threads; /proc/TID/status tells
 * the thread group. All functions may be called from any thread and block on
 * procfs at most; none waits for the process it asks about, not even when that
 * is inside execve() and closes its close-on-exec files (a plain read of
 * /proc/PID/stat would wait there for the reply to that very FLUSH).
 * A struct writer is used by one thread at a time, except writer_fate() and
 * writer_is_opener(), which may run in several, also beside writer_note_owner().
 * It holds one file descriptor, the pidfd.
 */
#ifndef UPLOADFS_FS_PROC_WRITER_H
#define UPLOADFS_FS_PROC_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct writer;

/*
 * Remember the process of thread tid as the opener. tid 0 (a process in another pid namespace):
 * the writer is known by its lock owner only. NULL: no memory.
 */
struct writer *writer_new(pid_t tid);
void writer_free(struct writer *w); /* NULL is a no-op */

/* Remember the lock owner of the first write or flush through the handle. */
void writer_note_owner(struct writer *w, uint64_t lock_owner);

/*
 * True if thread tid belongs to the process that opened the handle. The lock owner decides if tid
 * is 0 or its process is unknown; true if the lock owner is unknown as well.
 */
bool writer_is_opener(struct writer *w, pid_t tid, uint64_t lock_owner);

enum writer_fate {
	WRITER_ALIVE,  /* an ordinary close() */
	WRITER_EXITED, /* closes because it exits, with any exit code */
	WRITER_KILLED  /* closes because a signal ends it (also abort(), OOM kill) */
};
/*
 * The fate behind a close by closing_tid: WRITER_KILLED if a signal ended, ends or (pending) will
 * end that thread or the opener; else the state of the opener. closing_tid 0 (RELEASE has no
 * thread; a process in another pid namespace) asks for the opener alone. WRITER_ALIVE if the
 * opener was never seen.
 * Sources: /proc/TID/status and stat (PF_EXITING and exit_code) while a process
 * is there, its pidfd (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15) once it
 * was reaped. WRITER_KILLED if neither knows: half a file must never be published.
 */
enum writer_fate writer_fate(const struct writer *w, pid_t closing_tid);

/*
 * True if nothing can be learned about a closing thread: tid is 0, or /proc hides a thread that
 * exists (hidepid).
 */
bool writer_is_blind(pid_t closing_tid);

/* The process of thread tid; 0: unknown, or gone. */
pid_t writer_process(pid_t tid);

/*
 * True if a pending signal will end the process of thread tid, or the process is ending. An
 * interrupted wait for it is then over.
 */
bool writer_fatal_signal(pid_t tid);

#endif
