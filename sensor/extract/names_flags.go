package extract

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// A flag is a named value of an argument.
type flag struct {
	name  string
	value uint64
}

// Bits of a file's flags as Falco has them: reading is a bit of its own, so that the names can be read off.
const (
	ppmRdonly = 1 << iota
	ppmWronly
	ppmCreat
	ppmAppend
	ppmDsync
	ppmExcl
	ppmNonblock
	ppmSync
	ppmTrunc
	ppmDirect
	ppmDirectory
	ppmLargefile
	ppmCloexec
	ppmTmpfile
	ppmCreated
	ppmUpperLayer
	ppmLowerLayer

	ppmRdwr = ppmRdonly | ppmWronly
)

// tmpfile is O_TMPFILE without O_DIRECTORY.
const tmpfile = 0o20000000

// largefile is O_LARGEFILE as the kernel has it; the libraries define it as 0.
var largefile = map[string]uint32{"arm64": 0o400000}[runtime.GOARCH] | map[string]uint32{"amd64": 0o100000}[runtime.GOARCH]

// openBits pairs the kernel's flags with Falco's. A flag of several bits counts as soon as one is set, as it does there.
var openBits = []struct{ kernel, ppm uint32 }{
	{unix.O_CREAT, ppmCreat},
	{tmpfile, ppmTmpfile},
	{unix.O_APPEND, ppmAppend},
	{unix.O_DSYNC, ppmDsync},
	{unix.O_EXCL, ppmExcl},
	{unix.O_NONBLOCK, ppmNonblock},
	{unix.O_SYNC, ppmSync},
	{unix.O_TRUNC, ppmTrunc},
	{unix.O_DIRECT, ppmDirect},
	{unix.O_DIRECTORY, ppmDirectory},
	{largefile, ppmLargefile},
	{unix.O_CLOEXEC, ppmCloexec},
}

// openFlags converts the kernel's flags of an open to Falco's.
func openFlags(flags uint32) uint32 {
	var ppm uint32
	switch flags & unix.O_ACCMODE {
	case unix.O_WRONLY:
		ppm = ppmWronly
	case unix.O_RDWR:
		ppm = ppmRdwr
	default:
		ppm = ppmRdonly
	}
	for _, b := range openBits {
		if flags&b.kernel != 0 {
			ppm |= b.ppm
		}
	}
	return ppm
}

// openFlags are the flags of the event's open, with what became of it.
func (e *Event) openFlags() int64 {
	o := &e.ev.Open
	ppm := openFlags(o.Flags)
	for _, b := range []struct {
		is  bool
		ppm uint32
	}{{o.Created, ppmCreated}, {o.UpperLayer, ppmUpperLayer}, {o.LowerLayer, ppmLowerLayer}} {
		if b.is {
			ppm |= b.ppm
		}
	}
	return int64(ppm)
}

// flagNames joins the names of the flags in set by "|", in the order of the table. It goes by Falco's rules: a value that is wholly one
// entry is that entry alone; a bit that was named is not named again; zero is named only if the table names it.
func (e *Event) flagNames(table []flag, set uint64) string {
	start := len(e.buf)
	rest := set
	for i := range table {
		f := &table[i]
		last := f.value == set
		if !last && !(f.value != 0 && rest&f.value == f.value) {
			continue
		}
		if len(e.buf) > start {
			e.buf = append(e.buf, '|')
		}
		e.buf = append(e.buf, f.name...)
		if last {
			break
		}
		rest &^= f.value
	}
	return e.string(start)
}

// enumName is the name of exactly the value n; empty if it has none.
func enumName(table []flag, n uint64) string {
	for i := range table {
		if table[i].value == n {
			return table[i].name
		}
	}
	return ""
}

var modeBits = []flag{
	{"S_IXOTH", 0o1},
	{"S_IWOTH", 0o2},
	{"S_IROTH", 0o4},
	{"S_IXGRP", 0o10},
	{"S_IWGRP", 0o20},
	{"S_IRGRP", 0o40},
	{"S_IXUSR", 0o100},
	{"S_IWUSR", 0o200},
	{"S_IRUSR", 0o400},
	{"S_ISVTX", 0o1000},
	{"S_ISGID", 0o2000},
	{"S_ISUID", 0o4000},
}

// tables are the names of values, by the name of Falco's table and in its order.
var tables = map[string][]flag{
	"file_flags": {
		{"O_LARGEFILE", ppmLargefile},
		{"O_DIRECTORY", ppmDirectory},
		{"O_DIRECT", ppmDirect},
		{"O_TRUNC", ppmTrunc},
		{"O_SYNC", ppmSync},
		{"O_NONBLOCK", ppmNonblock},
		{"O_EXCL", ppmExcl},
		{"O_DSYNC", ppmDsync},
		{"O_APPEND", ppmAppend},
		{"O_CREAT", ppmCreat},
		{"O_RDWR", ppmRdwr},
		{"O_WRONLY", ppmWronly},
		{"O_RDONLY", ppmRdonly},
		{"O_CLOEXEC", ppmCloexec},
		{"O_NONE", 0},
		{"O_TMPFILE", ppmTmpfile},
		{"O_F_CREATED", ppmCreated},
		{"FD_UPPER_LAYER", ppmUpperLayer},
		{"FD_LOWER_LAYER", ppmLowerLayer},
	},
	"creat_flags":  {{"FD_UPPER_LAYER_CREAT", ppmUpperLayer}, {"FD_LOWER_LAYER_CREAT", ppmLowerLayer}},
	"execve_flags": {{"EXE_WRITABLE", 1}, {"EXE_UPPER_LAYER", 2}, {"EXE_FROM_MEMFD", 4}, {"EXE_LOWER_LAYER", 8}},
	"clone_flags": {
		{"CLONE_FILES", unix.CLONE_FILES},
		{"CLONE_FS", unix.CLONE_FS},
		{"CLONE_IO", unix.CLONE_IO},
		{"CLONE_NEWIPC", unix.CLONE_NEWIPC},
		{"CLONE_NEWNET", unix.CLONE_NEWNET},
		{"CLONE_NEWNS", unix.CLONE_NEWNS},
		{"CLONE_NEWPID", unix.CLONE_NEWPID},
		{"CLONE_NEWUTS", unix.CLONE_NEWUTS},
		{"CLONE_PARENT", unix.CLONE_PARENT},
		{"CLONE_PARENT_SETTID", unix.CLONE_PARENT_SETTID},
		{"CLONE_PTRACE", unix.CLONE_PTRACE},
		{"CLONE_SIGHAND", unix.CLONE_SIGHAND},
		{"CLONE_SYSVSEM", unix.CLONE_SYSVSEM},
		{"CLONE_THREAD", unix.CLONE_THREAD},
		{"CLONE_UNTRACED", unix.CLONE_UNTRACED},
		{"CLONE_VM", unix.CLONE_VM},
		{"CLONE_NEWUSER", unix.CLONE_NEWUSER},
		{"CLONE_CHILD_CLEARTID", unix.CLONE_CHILD_CLEARTID},
		{"CLONE_CHILD_SETTID", unix.CLONE_CHILD_SETTID},
		{"CLONE_SETTLS", unix.CLONE_SETTLS},
		{"CLONE_VFORK", unix.CLONE_VFORK},
		{"CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP},
	},
	"openat2_flags": {
		{"RESOLVE_BENEATH", unix.RESOLVE_BENEATH},
		{"RESOLVE_IN_ROOT", unix.RESOLVE_IN_ROOT},
		{"RESOLVE_NO_MAGICLINKS", unix.RESOLVE_NO_MAGICLINKS},
		{"RESOLVE_NO_SYMLINKS", unix.RESOLVE_NO_SYMLINKS},
		{"RESOLVE_NO_XDEV", unix.RESOLVE_NO_XDEV},
		{"RESOLVE_CACHED", 0x20},
	},
	"chmod_mode": modeBits,
	"mknod_mode": append(modeBits[:len(modeBits):len(modeBits)],
		flag{"S_IFREG", unix.S_IFREG}, flag{"S_IFCHR", unix.S_IFCHR}, flag{"S_IFBLK", unix.S_IFBLK}, flag{"S_IFIFO", unix.S_IFIFO},
		flag{"S_IFSOCK", unix.S_IFSOCK}),
	"unlinkat_flags":     {{"AT_REMOVEDIR", unix.AT_REMOVEDIR}},
	"linkat_flags":       {{"AT_SYMLINK_FOLLOW", unix.AT_SYMLINK_FOLLOW}, {"AT_EMPTY_PATH", unix.AT_EMPTY_PATH}},
	"fchownat_flags":     {{"AT_SYMLINK_NOFOLLOW", unix.AT_SYMLINK_NOFOLLOW}, {"AT_EMPTY_PATH", unix.AT_EMPTY_PATH}},
	"renameat2_flags":    {{"RENAME_NOREPLACE", unix.RENAME_NOREPLACE}, {"RENAME_EXCHANGE", unix.RENAME_EXCHANGE}, {"RENAME_WHITEOUT", unix.RENAME_WHITEOUT}},
	"umount_flags":       {{"FORCE", unix.MNT_FORCE}, {"DETACH", unix.MNT_DETACH}, {"EXPIRE", unix.MNT_EXPIRE}, {"NOFOLLOW", unix.UMOUNT_NOFOLLOW}},
	"memfd_create_flags": {{"MFD_CLOEXEC", unix.MFD_CLOEXEC}, {"MFD_ALLOW_SEALING", unix.MFD_ALLOW_SEALING}, {"MFD_HUGETLB", unix.MFD_HUGETLB}},
	"finit_module_flags": {
		{"MODULE_INIT_IGNORE_MODVERSIONS", unix.MODULE_INIT_IGNORE_MODVERSIONS},
		{"MODULE_INIT_IGNORE_VERMAGIC", unix.MODULE_INIT_IGNORE_VERMAGIC},
		{"MODULE_INIT_COMPRESSED_FILE", 4},
	},
	"delete_module_flags": {{"O_NONBLOCK", unix.O_NONBLOCK}, {"O_TRUNC", unix.O_TRUNC}},
	"shutdown_how":        {{"SHUT_RDWR", 2}, {"SHUT_WR", 1}, {"SHUT_RD", 0}},
	"mount_flags": {
		{"RDONLY", unix.MS_RDONLY},
		{"NOSUID", unix.MS_NOSUID},
		{"NODEV", unix.MS_NODEV},
		{"NOEXEC", unix.MS_NOEXEC},
		{"SYNCHRONOUS", unix.MS_SYNCHRONOUS},
		{"REMOUNT", unix.MS_REMOUNT},
		{"MANDLOCK", unix.MS_MANDLOCK},
		{"DIRSYNC", unix.MS_DIRSYNC},
		{"NOATIME", unix.MS_NOATIME},
		{"NODIRATIME", unix.MS_NODIRATIME},
		{"BIND", unix.MS_BIND},
		{"MOVE", unix.MS_MOVE},
		{"REC", unix.MS_REC},
		{"SILENT", unix.MS_SILENT},
		{"POSIXACL", unix.MS_POSIXACL},
		{"UNBINDABLE", unix.MS_UNBINDABLE},
		{"PRIVATE", unix.MS_PRIVATE},
		{"SLAVE", unix.MS_SLAVE},
		{"SHARED", unix.MS_SHARED},
		{"RELATIME", unix.MS_RELATIME},
		{"KERNMOUNT", unix.MS_KERNMOUNT},
		{"I_VERSION", unix.MS_I_VERSION},
		{"STRICTATIME", unix.MS_STRICTATIME},
		{"LAZYTIME", unix.MS_LAZYTIME},
		{"NOSEC", 1 << 28},
		{"BORN", 1 << 29},
		{"ACTIVE", 1 << 30},
		{"NOUSER", 1 << 31},
	},
	"socket_families":  socketFamilies,
	"ptrace_requests":  ptraceRequests,
	"bpf_commands":     bpfCommands,
	"prctl_options":    prctlOptions,
	"fcntl_commands":   fcntlCommands,
	"splice_flags":     {{"SPLICE_F_MOVE", 1}, {"SPLICE_F_NONBLOCK", 2}, {"SPLICE_F_MORE", 4}, {"SPLICE_F_GIFT", 8}},
	"pidfd_open_flags": {{"PIDFD_NONBLOCK", unix.O_NONBLOCK}},
	"access_flags":     {{"F_OK", 0}, {"R_OK", 4}, {"W_OK", 2}, {"X_OK", 1}},
}
