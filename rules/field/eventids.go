package field

// An EventType names an event by what evt.type says. The zero EventType is no event.
type EventType uint16

// Modelled event types, by name. Calls that are not modelled follow them: see GenericEvent.
const (
	_ EventType = iota
	EventAccept
	EventAccept4
	EventAccess
	EventAsyncevent
	EventBind
	EventBpf
	EventBrk
	EventCapset
	EventChdir
	EventChmod
	EventChown
	EventChroot
	EventClone
	EventClone3
	EventClose
	EventCloseRange
	EventConnect
	EventContainer
	EventCopyFileRange
	EventCpuHotplug //nolint:revive // the words of cpu_hotplug, as in all names here
	EventCreat
	EventDeleteModule
	EventDrop
	EventDup
	EventDup2
	EventDup3
	EventEpollCreate
	EventEpollCreate1
	EventEpollWait
	EventEventfd
	EventEventfd2
	EventExecve
	EventExecveat
	EventFchdir
	EventFchmod
	EventFchmodat
	EventFchown
	EventFchownat
	EventFcntl
	EventFinitModule
	EventFlock
	EventFork
	EventFsconfig
	EventFstat
	EventFstat64
	EventFutex
	EventGetcwd
	EventGetdents
	EventGetdents64
	EventGetegid
	EventGeteuid
	EventGetgid
	EventGetpeername
	EventGetresgid
	EventGetresuid
	EventGetrlimit
	EventGetsockname
	EventGetsockopt
	EventGetuid
	EventGroupadded
	EventGroupdeleted
	EventInfra
	EventInitModule
	EventInotifyInit
	EventInotifyInit1
	EventIoUringEnter
	EventIoUringRegister
	EventIoUringSetup
	EventIoctl
	EventK8s
	EventKeyctl
	EventKill
	EventLchown
	EventLink
	EventLinkat
	EventListen
	EventLlseek
	EventLseek
	EventLstat
	EventLstat64
	EventMemfdCreate
	EventMesos
	EventMkdir
	EventMkdirat
	EventMknod
	EventMknodat
	EventMlock
	EventMlock2
	EventMlockall
	EventMmap
	EventMmap2
	EventMount
	EventMprotect
	EventMunlock
	EventMunlockall
	EventMunmap
	EventNanosleep
	EventNewfstatat
	EventNotification
	EventOpen
	EventOpenByHandleAt
	EventOpenat
	EventOpenat2
	EventPageFault
	EventPidfdGetfd
	EventPidfdOpen
	EventPipe
	EventPipe2
	EventPluginevent
	EventPoll
	EventPpoll
	EventPrctl
	EventPread
	EventPreadv
	EventPrlimit
	EventProcessVmReadv  //nolint:revive // see EventCpuHotplug
	EventProcessVmWritev //nolint:revive // see EventCpuHotplug
	EventProcexit
	EventProcinfo
	EventPtrace
	EventPwrite
	EventPwritev
	EventQuotactl
	EventRead
	EventReadv
	EventRecv
	EventRecvfrom
	EventRecvmmsg
	EventRecvmsg
	EventRename
	EventRenameat
	EventRenameat2
	EventRmdir
	EventScapevent
	EventSeccomp
	EventSelect
	EventSemctl
	EventSemget
	EventSemop
	EventSend
	EventSendfile
	EventSendmmsg
	EventSendmsg
	EventSendto
	EventSetgid
	EventSetns
	EventSetpgid
	EventSetregid
	EventSetresgid
	EventSetresuid
	EventSetreuid
	EventSetrlimit
	EventSetsid
	EventSetsockopt
	EventSetuid
	EventShutdown
	EventSignaldeliver
	EventSignalfd
	EventSignalfd4
	EventSocket
	EventSocketpair
	EventSplice
	EventStat
	EventStat64
	EventSwitch
	EventSymlink
	EventSymlinkat
	EventSyscall
	EventTask
	EventTaskFileAnonInode
	EventTaskFileDirectory
	EventTaskFileMemfd
	EventTaskFilePipe
	EventTaskFileRegular
	EventTaskFileSocketInet
	EventTaskFileSocketInet6
	EventTaskFileSocketNetlink
	EventTaskFileSocketUnix
	EventTgkill
	EventTimerfdCreate
	EventTkill
	EventTracer
	EventUmount
	EventUmount2
	EventUnlink
	EventUnlinkat
	EventUnshare
	EventUseradded
	EventUserdeleted
	EventUserfaultfd
	EventVfork
	EventWrite
	EventWritev

	numModelled // one above the last
)

var modelledNames = [numModelled]string{
	EventAccept:                "accept",
	EventAccept4:               "accept4",
	EventAccess:                "access",
	EventAsyncevent:            "asyncevent",
	EventBind:                  "bind",
	EventBpf:                   "bpf",
	EventBrk:                   "brk",
	EventCapset:                "capset",
	EventChdir:                 "chdir",
	EventChmod:                 "chmod",
	EventChown:                 "chown",
	EventChroot:                "chroot",
	EventClone:                 "clone",
	EventClone3:                "clone3",
	EventClose:                 "close",
	EventCloseRange:            "close_range",
	EventConnect:               "connect",
	EventContainer:             "container",
	EventCopyFileRange:         "copy_file_range",
	EventCpuHotplug:            "cpu_hotplug",
	EventCreat:                 "creat",
	EventDeleteModule:          "delete_module",
	EventDrop:                  "drop",
	EventDup:                   "dup",
	EventDup2:                  "dup2",
	EventDup3:                  "dup3",
	EventEpollCreate:           "epoll_create",
	EventEpollCreate1:          "epoll_create1",
	EventEpollWait:             "epoll_wait",
	EventEventfd:               "eventfd",
	EventEventfd2:              "eventfd2",
	EventExecve:                "execve",
	EventExecveat:              "execveat",
	EventFchdir:                "fchdir",
	EventFchmod:                "fchmod",
	EventFchmodat:              "fchmodat",
	EventFchown:                "fchown",
	EventFchownat:              "fchownat",
	EventFcntl:                 "fcntl",
	EventFinitModule:           "finit_module",
	EventFlock:                 "flock",
	EventFork:                  "fork",
	EventFsconfig:              "fsconfig",
	EventFstat:                 "fstat",
	EventFstat64:               "fstat64",
	EventFutex:                 "futex",
	EventGetcwd:                "getcwd",
	EventGetdents:              "getdents",
	EventGetdents64:            "getdents64",
	EventGetegid:               "getegid",
	EventGeteuid:               "geteuid",
	EventGetgid:                "getgid",
	EventGetpeername:           "getpeername",
	EventGetresgid:             "getresgid",
	EventGetresuid:             "getresuid",
	EventGetrlimit:             "getrlimit",
	EventGetsockname:           "getsockname",
	EventGetsockopt:            "getsockopt",
	EventGetuid:                "getuid",
	EventGroupadded:            "groupadded",
	EventGroupdeleted:          "groupdeleted",
	EventInfra:                 "infra",
	EventInitModule:            "init_module",
	EventInotifyInit:           "inotify_init",
	EventInotifyInit1:          "inotify_init1",
	EventIoUringEnter:          "io_uring_enter",
	EventIoUringRegister:       "io_uring_register",
	EventIoUringSetup:          "io_uring_setup",
	EventIoctl:                 "ioctl",
	EventK8s:                   "k8s",
	EventKeyctl:                "keyctl",
	EventKill:                  "kill",
	EventLchown:                "lchown",
	EventLink:                  "link",
	EventLinkat:                "linkat",
	EventListen:                "listen",
	EventLlseek:                "llseek",
	EventLseek:                 "lseek",
	EventLstat:                 "lstat",
	EventLstat64:               "lstat64",
	EventMemfdCreate:           "memfd_create",
	EventMesos:                 "mesos",
	EventMkdir:                 "mkdir",
	EventMkdirat:               "mkdirat",
	EventMknod:                 "mknod",
	EventMknodat:               "mknodat",
	EventMlock:                 "mlock",
	EventMlock2:                "mlock2",
	EventMlockall:              "mlockall",
	EventMmap:                  "mmap",
	EventMmap2:                 "mmap2",
	EventMount:                 "mount",
	EventMprotect:              "mprotect",
	EventMunlock:               "munlock",
	EventMunlockall:            "munlockall",
	EventMunmap:                "munmap",
	EventNanosleep:             "nanosleep",
	EventNewfstatat:            "newfstatat",
	EventNotification:          "notification",
	EventOpen:                  "open",
	EventOpenByHandleAt:        "open_by_handle_at",
	EventOpenat:                "openat",
	EventOpenat2:               "openat2",
	EventPageFault:             "page_fault",
	EventPidfdGetfd:            "pidfd_getfd",
	EventPidfdOpen:             "pidfd_open",
	EventPipe:                  "pipe",
	EventPipe2:                 "pipe2",
	EventPluginevent:           "pluginevent",
	EventPoll:                  "poll",
	EventPpoll:                 "ppoll",
	EventPrctl:                 "prctl",
	EventPread:                 "pread",
	EventPreadv:                "preadv",
	EventPrlimit:               "prlimit",
	EventProcessVmReadv:        "process_vm_readv",
	EventProcessVmWritev:       "process_vm_writev",
	EventProcexit:              "procexit",
	EventProcinfo:              "procinfo",
	EventPtrace:                "ptrace",
	EventPwrite:                "pwrite",
	EventPwritev:               "pwritev",
	EventQuotactl:              "quotactl",
	EventRead:                  "read",
	EventReadv:                 "readv",
	EventRecv:                  "recv",
	EventRecvfrom:              "recvfrom",
	EventRecvmmsg:              "recvmmsg",
	EventRecvmsg:               "recvmsg",
	EventRename:                "rename",
	EventRenameat:              "renameat",
	EventRenameat2:             "renameat2",
	EventRmdir:                 "rmdir",
	EventScapevent:             "scapevent",
	EventSeccomp:               "seccomp",
	EventSelect:                "select",
	EventSemctl:                "semctl",
	EventSemget:                "semget",
	EventSemop:                 "semop",
	EventSend:                  "send",
	EventSendfile:              "sendfile",
	EventSendmmsg:              "sendmmsg",
	EventSendmsg:               "sendmsg",
	EventSendto:                "sendto",
	EventSetgid:                "setgid",
	EventSetns:                 "setns",
	EventSetpgid:               "setpgid",
	EventSetregid:              "setregid",
	EventSetresgid:             "setresgid",
	EventSetresuid:             "setresuid",
	EventSetreuid:              "setreuid",
	EventSetrlimit:             "setrlimit",
	EventSetsid:                "setsid",
	EventSetsockopt:            "setsockopt",
	EventSetuid:                "setuid",
	EventShutdown:              "shutdown",
	EventSignaldeliver:         "signaldeliver",
	EventSignalfd:              "signalfd",
	EventSignalfd4:             "signalfd4",
	EventSocket:                "socket",
	EventSocketpair:            "socketpair",
	EventSplice:                "splice",
	EventStat:                  "stat",
	EventStat64:                "stat64",
	EventSwitch:                "switch",
	EventSymlink:               "symlink",
	EventSymlinkat:             "symlinkat",
	EventSyscall:               "syscall",
	EventTask:                  "task",
	EventTaskFileAnonInode:     "task_file_anon_inode",
	EventTaskFileDirectory:     "task_file_directory",
	EventTaskFileMemfd:         "task_file_memfd",
	EventTaskFilePipe:          "task_file_pipe",
	EventTaskFileRegular:       "task_file_regular",
	EventTaskFileSocketInet:    "task_file_socket_inet",
	EventTaskFileSocketInet6:   "task_file_socket_inet6",
	EventTaskFileSocketNetlink: "task_file_socket_netlink",
	EventTaskFileSocketUnix:    "task_file_socket_unix",
	EventTgkill:                "tgkill",
	EventTimerfdCreate:         "timerfd_create",
	EventTkill:                 "tkill",
	EventTracer:                "tracer",
	EventUmount:                "umount",
	EventUmount2:               "umount2",
	EventUnlink:                "unlink",
	EventUnlinkat:              "unlinkat",
	EventUnshare:               "unshare",
	EventUseradded:             "useradded",
	EventUserdeleted:           "userdeleted",
	EventUserfaultfd:           "userfaultfd",
	EventVfork:                 "vfork",
	EventWrite:                 "write",
	EventWritev:                "writev",
}
