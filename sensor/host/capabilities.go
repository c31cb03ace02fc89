package host

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Capability is one that the sensor can do without.
type Capability struct {
	Name string
	Cost string // what is not seen without it
}

var optional = []struct {
	bit int
	Capability
}{
	{unix.CAP_SYS_PTRACE, Capability{"CAP_SYS_PTRACE", "users and groups of containers have no names, processes that were there before the sensor no environment, " +
		"lost records of processes are not made up for, and in a container neither the host's users nor the sockets of container runtimes are found"}},
	{unix.CAP_DAC_READ_SEARCH, Capability{"CAP_DAC_READ_SEARCH", "the environment of other users' processes that were there before the sensor is not known, " +
		"nor are the users of containers whose files root alone may not read"}},
}

// MissingCapabilities returns those that this process lacks though the sensor has a use for them.
func MissingCapabilities() ([]Capability, error) {
	have, err := EffectiveCapabilities("/proc/self/status")
	if err != nil {
		return nil, err
	}
	var missing []Capability
	for _, c := range optional {
		if have>>c.bit&1 == 0 {
			missing = append(missing, c.Capability)
		}
	}
	return missing, nil
}

// EffectiveCapabilities returns the set that a status file of /proc says, a bit for each.
func EffectiveCapabilities(status string) (uint64, error) {
	f, err := os.Open(status)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		}
	}
	return 0, errors.New("no CapEff line")
}
