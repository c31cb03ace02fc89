package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/tiercel-project/tiercel/rules/spell"
)

// envPrefix begins the name of every environment variable that sets a flag: TIERCEL_LOG_LEVEL is --log-level.
const envPrefix = "TIERCEL_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// lookupSetting returns what the environment gives for a flag.
func lookupSetting(flag string) (string, bool) {
	name := envName(flag)
	v, ok := os.LookupEnv(name)
	return v, ok && !isServiceLink(name, os.Environ())
}

// notSettings begin the names of the variables that our own tests and builds read.
var notSettings = []string{
	"BENCH_", "BURST", "CHAOS_", "CONFORMANCE", "EXEMPT_TEST_", "ISOLATION_", "KERNELS", "KERNEL_TEST_", "MARK", "RELOADS", "RELOAD_CHILD", "REPLAY",
	"SENSOR_TEST_", "SOAK_", "SOUNDNESS_", "SPOOL_TEST_", "TEST_", "TMP",
}

// A stray is an environment variable that begins as a setting does and is none.
type stray struct {
	name    string
	nearest string // setting; empty if none is near
}

// strays returns those of environ, a list of NAME=VALUE, by name.
func strays(environ []string) []stray {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	defaultDaemonConfig().addFlags(flags, partSensor|partRuntime) // of all parts: they may share an environment
	var settings []string
	flags.VisitAll(func(f *pflag.Flag) { settings = append(settings, strings.TrimPrefix(envName(f.Name), envPrefix)) })
	var found []stray
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		rest, ours := strings.CutPrefix(name, envPrefix)
		test := slices.ContainsFunc(notSettings, func(begin string) bool { return strings.HasPrefix(rest, begin) })
		if ours && !test && !slices.Contains(settings, rest) && !isServiceLink(name, environ) {
			s := stray{name: name}
			if near := spell.Nearest(rest, settings); near != "" {
				s.nearest = envPrefix + near
			}
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b stray) int { return strings.Compare(a.name, b.name) })
	return found
}

// isServiceLink reports whether Kubernetes made the variable for a Service of its namespace: one called tiercel-nats makes TIERCEL_NATS_PORT.
func isServiceLink(name string, environ []string) bool {
	for _, v := range environ {
		host, _, _ := strings.Cut(v, "=")
		service, ok := strings.CutSuffix(host, "_SERVICE_HOST")
		rest, of := strings.CutPrefix(name, service+"_")
		if ok && of && (rest == "SERVICE_HOST" || rest == "PORT" || rest == "SERVICE_PORT" || strings.HasPrefix(rest, "SERVICE_PORT_") || strings.HasPrefix(rest, "PORT_")) {
			return true
		}
	}
	return false
}
