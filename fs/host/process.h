/*
 * process: hardening, priority and background of the daemon's process. Start-up only, one thread.
 */
#ifndef UPLOADFS_FS_HOST_PROCESS_H
#define UPLOADFS_FS_HOST_PROCESS_H

/* Forbid core files and debuggers, raise the descriptor limit, ignore SIGPIPE, set umask 077. */
void process_harden(void);
/*
 * Lower the priority (nice + 5) of the calling thread and of the threads that it starts. Needs no
 * privilege and never fails.
 */
void process_give_way(void);
/*
 * Go into the background. Returns in the child, with the descriptor for process_detach(). The
 * parent exits: with 0 after process_detach(), with failed when the child ends before that.
 */
int process_daemonise(int failed);
/* Let the parent exit; leave its directory and terminal. Closes ready_fd. */
void process_detach(int ready_fd);

#endif
