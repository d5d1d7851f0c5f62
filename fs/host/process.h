/*
 * process: what a daemon asks of its process. Start-up only, one thread.
 */
#ifndef UPLOADFS_FS_HOST_PROCESS_H
#define UPLOADFS_FS_HOST_PROCESS_H

/* No core file, no debugger, all descriptors, no SIGPIPE, umask 077. */
void process_harden(void);
/*
 * The calling thread, and all that it starts from now on, leave the processor to the process's
 * other threads where they contend for it (nice + 5). No privilege is needed; never an error.
 */
void process_give_way(void);
/*
 * Goes into the background: the parent stays until the child says that the mount answers, and
 * exits with 0 then, or with failed when the child ends before. Returns in the child with the
 * descriptor for process_detach(); the parent never returns.
 */
int process_daemonise(int failed);
/* Lets the parent go, and leaves its directory and terminal. Closes ready_fd. */
void process_detach(int ready_fd);

#endif
