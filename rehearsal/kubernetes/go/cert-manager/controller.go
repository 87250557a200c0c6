package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/healthz"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/metrics"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

const workers = 2

// controllerProgram takes the arguments that the chart gives; what only ACME uses has no effect here.
func controllerProgram(ctx context.Context, words []string) error {
	var space, leading, solver, file string
	var challenges, verbosity int
	flags := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	flags.StringVar(&space, "cluster-resource-namespace", "kube-system", "namespace of a ClusterIssuer's Secrets")
	flags.StringVar(&leading, "leader-election-namespace", "kube-system", "namespace of the Lease")
	flags.StringVar(&solver, "acme-http01-solver-image", "", "of no effect")
	flags.StringVar(&file, "config", "", "of no effect")
	flags.IntVar(&challenges, "max-concurrent-challenges", 60, "of no effect")
	flags.IntVarP(&verbosity, "v", "v", 2, "of no effect")
	if err := flags.Parse(words); err != nil {
		return err
	}
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		KubernetesAPIQPS:   20,
		KubernetesAPIBurst: 50,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: space},
		CertificateOptions: controller.CertificateOptions{
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
	})
	if err != nil {
		return err
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	shared.Metrics.SetupCertificateCollector(shared.SharedInformerFactory.Certmanager().V1().Certificates().Lister())
	shared.Metrics.SetupClusterIssuerCollector(shared.SharedInformerFactory.Certmanager().V1().ClusterIssuers().Lister())
	if err := serve(ctx, shared); err != nil {
		return err
	}
	return lead(ctx, shared, leading, func(ctx context.Context) error { return run(ctx, factory, shared) })
}

// serve answers for metrics and for the kubelet.
func serve(ctx context.Context, shared *controller.Context) error {
	metrics, err := net.Listen("tcp", ":9402")
	if err != nil {
		return err
	}
	health, err := net.Listen("tcp", ":9403")
	if err != nil {
		return err
	}
	server := shared.Metrics.NewServer(metrics)
	go func() {
		if err := server.Serve(metrics); !errors.Is(err, http.ErrServerClosed) {
			logf.FromContext(ctx).Error(err, "metrics")
		}
	}()
	go func() {
		if err := healthz.NewServer(time.Minute).Start(ctx, health); err != nil {
			logf.FromContext(ctx).Error(err, "health")
		}
	}()
	return nil
}

// lead runs something while no other process does.
func lead(ctx context.Context, shared *controller.Context, space string, work func(context.Context) error) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	lock, err := resourcelock.New(
		resourcelock.LeasesResourceLock, space, "cert-manager-controller", shared.Client.CoreV1(),
		shared.Client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: name},
	)
	if err != nil {
		return err
	}
	var failed error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock:            lock,
		ReleaseOnCancel: true,
		LeaseDuration:   60 * time.Second,
		RenewDeadline:   40 * time.Second,
		RetryPeriod:     5 * time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				defer stop()
				failed = work(ctx)
			},
			OnStoppedLeading: func() {},
		},
	})
	return failed
}

// run starts every controller that is linked into this program, and waits for their end.
func run(ctx context.Context, factory *controller.ContextFactory, shared *controller.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	failures := make(chan error, len(controller.Known()))
	for name, construct := range controller.Known() {
		made, err := construct(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		group.Go(func() {
			if err := made.Run(workers, ctx); err != nil {
				failures <- fmt.Errorf("%s: %w", name, err)
				stop()
			}
		})
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	group.Wait()
	select {
	case err := <-failures:
		return err
	default:
		return nil
	}
}
