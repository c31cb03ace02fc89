package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tiercel-project/tiercel/bus/quantity"
	"github.com/tiercel-project/tiercel/bus/spool"
	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/host"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/sensor/output"
	"github.com/tiercel-project/tiercel/sensor/podinformer"
)

// addSensor makes the sensor of this node. alone: the process is nothing else.
func (d *daemon) addSensor(alone bool) error {
	cfg := sensor.DefaultConfig()
	cfg.Node, cfg.Cluster, cfg.Hostname = d.cfg.Node, d.cfg.Cluster, d.cfg.Node
	cfg.Format, cfg.FileOutput, cfg.HTTPOutput = output.Format(d.cfg.Output), d.cfg.FileOutput, d.cfg.HTTPOutput
	cfg.RuntimeSockets, cfg.Recorder = d.cfg.nested.RuntimeSockets, d.cfg.nested.Recorder
	cfg.IdentityTimeout, cfg.SelfSocket = d.cfg.IdentityTimeout, d.cfg.SelfSocket
	if d.cfg.HostRoot != "" {
		cfg.HostRoot = host.Root(d.cfg.HostRoot)
	}
	cfg.SyslogOutput, cfg.ProgramOutput, cfg.ProgramKeepAlive = d.cfg.Syslog, d.cfg.Program, d.cfg.KeepAlive
	var err error
	if cfg.SelfUsers, err = d.cfg.selfUsers(); err != nil {
		return err
	}
	if cfg.RingBytes, cfg.ProcessRingBytes, err = d.cfg.rings(); err != nil {
		return err
	}
	cfg.ThrottleRate, cfg.ThrottleBurst = d.cfg.nested.Throttle.Rate, d.cfg.nested.Throttle.Burst
	if size, err := quantity.ParseSize(d.cfg.SpoolSize); err == nil && size > 0 { // Validate has refused what is no size
		cfg.Spool, cfg.SpoolBytes, cfg.SpoolSync = filepath.Join(d.cfg.Data, "spool"), int64(size), d.cfg.SpoolSync
	}
	resolvers, err := d.podResolvers()
	if err != nil {
		return err
	}
	s, err := sensor.New(cfg, sensor.Deps{
		Rules: d.set, Load: d.readRules, Watch: d.cfg.Rules, Bus: d.bus, Stdout: d.streams.Out, Log: d.log, Registerer: d.reg,
		Resolvers: resolvers, Watching: func() { d.forgetStart(alone) },
	})
	if errors.Is(err, spool.ErrInUse) {
		return &cli.Error{Err: err, Hint: "another sensor uses that --data; give each its own"}
	}
	if err != nil {
		return err
	}
	d.ready = append(d.ready, readiness{"sensor", s.Ready})
	d.losses, d.exempt = s.Losses, s.Exempt
	d.parts = append(d.parts, s.Run)
	return nil
}

// forgetStart gives back the memory that only the start needed, which is over. A sensor alone collects its garbage early from here on.
func (d *daemon) forgetStart(alone bool) {
	if alone {
		paceHeap()
	}
	limitMemory() // now with the maps
	debug.FreeOSMemory()
	if err := dropProgram("/proc/self/smaps"); err != nil {
		d.log.Debug("pages of the program stay mapped", "err", err)
	}
}

// podResolvers returns who knows the names of this node's pods: the API server, if there is a cluster.
func (d *daemon) podResolvers() ([]container.Resolver, error) {
	if d.cfg.Kubeconfig == "" && !inCluster() {
		return nil, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", d.cfg.Kubeconfig) // in a pod if it is empty
	if err != nil {
		return nil, &cli.Error{Err: fmt.Errorf("read the kubeconfig: %w", err), Hint: "--kubeconfig names the file"}
	}
	config.UserAgent = "tiercel-sensor/" + version
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to Kubernetes: %w", err)
	}
	pods := podinformer.New(client, d.cfg.Node, d.log)
	d.parts = append(d.parts, pods.Run)
	d.ready = append(d.ready, readiness{"pods", pods.Ready})
	return []container.Resolver{pods}, nil
}

// requirement adds the hint of what the machine lacks to err.
func requirement(err error) error {
	if re, ok := errors.AsType[*kernel.RequirementError](err); ok {
		return &cli.Error{Err: err, Hint: re.Hint}
	}
	return err
}
