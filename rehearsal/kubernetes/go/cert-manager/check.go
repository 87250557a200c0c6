package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/cmapichecker"
	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"
)

const pause = time.Second

// checkProgram ends when the API takes certificate requests: `check api --wait=1m`.
func checkProgram(ctx context.Context, words []string) error {
	var wait time.Duration
	var verbose bool
	flags := pflag.NewFlagSet("startupapicheck", pflag.ContinueOnError)
	flags.DurationVar(&wait, "wait", 0, "how long to try")
	flags.BoolVarP(&verbose, "verbose", "v", false, "say why it is not ready")
	if err := flags.Parse(words); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, wait)
	defer stop()
	for {
		checker, err := cmapichecker.New(config, os.Getenv("POD_NAMESPACE"))
		if err == nil {
			err = checker.Check(ctx)
		}
		if err == nil {
			fmt.Println("The cert-manager API is ready")
			return nil
		}
		if verbose {
			fmt.Println("Not ready:", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready within %s: %w", wait, err)
		case <-time.After(pause):
		}
	}
}
