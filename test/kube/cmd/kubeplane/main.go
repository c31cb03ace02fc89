// Kubeplane is etcd and kube-apiserver in one process. When the API is ready it prints one line of JSON with its URL and the
// kubeconfig of an administrator; it ends on SIGTERM, or when it is killed, which does no harm. What follows -- are kube-apiserver flags.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/tiercel-project/tiercel/test/kube/plane"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kubeplane:", err)
		os.Exit(1)
	}
}

func run() error {
	var cfg plane.Config
	flag.StringVar(&cfg.Dir, "dir", "", "state `directory`")
	flag.StringVar(&cfg.Host, "host", "127.0.0.1", "`address` to listen on")
	flag.IntVar(&cfg.Port, "port", 0, "`port`; 0 means a free one")
	flag.BoolVar(&cfg.Fsync, "fsync", false, "etcd syncs to disk")
	tied := flag.Bool("tied", false, "end when standard input does, as it does when the parent process is gone")
	flag.Parse()
	cfg.APIServer = flag.Args()
	if cfg.Dir == "" {
		return fmt.Errorf("-dir is missing")
	}
	if *tied {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	p, err := plane.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	err = json.NewEncoder(os.Stdout).Encode(map[string]string{"url": p.URL, "kubeconfig": p.Kubeconfig, "ca": p.CAFile, "dir": cfg.Dir})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.Errs:
		return err
	}
}
