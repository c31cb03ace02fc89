package main

import (
	"errors"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/kernel"
)

// addSensor makes the sensor of this node.
func (d *daemon) addSensor() error {
	cfg := sensor.DefaultConfig()
	cfg.Node, cfg.Cluster, cfg.Hostname = d.cfg.Node, d.cfg.Cluster, d.cfg.Node
	cfg.Format, cfg.FileOutput, cfg.HTTPOutput = d.cfg.Output, d.cfg.FileOutput, d.cfg.HTTPOutput
	s, err := sensor.New(cfg, sensor.Deps{
		Rules: d.set, Load: d.readRules, Watch: d.cfg.Rules, Bus: d.bus, Stdout: d.streams.Out, Log: d.log, Registerer: d.reg,
	})
	if err != nil {
		return err
	}
	d.ready = append(d.ready, readiness{"sensor", s.Ready})
	d.parts = append(d.parts, s.Run)
	return nil
}

// requirement adds the hint of what the machine lacks to err.
func requirement(err error) error {
	if re, ok := errors.AsType[*kernel.RequirementError](err); ok {
		return &cli.Error{Err: err, Hint: re.Hint}
	}
	return err
}
