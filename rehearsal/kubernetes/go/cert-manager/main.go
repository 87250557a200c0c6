// cert-manager's programs, over its library: upstream's own main packages are modules of their own that no module proxy
// has. Issuers are those that need nobody outside: a certificate authority's key, and self-signed. Which program runs is
// said by its name, as in upstream's images. This module lies in upstream's name space, because what upstream's main
// packages use is internal to it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	logf "github.com/cert-manager/cert-manager/pkg/logs"
	ctrl "sigs.k8s.io/controller-runtime"
)

var programs = map[string]func(context.Context, []string) error{
	"controller":      controllerProgram,
	"webhook":         webhookProgram,
	"cainjector":      injectorProgram,
	"startupapicheck": checkProgram,
}

// version is set by the linker.
var version = "unknown"

func main() {
	name := filepath.Base(os.Args[0])
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(name, version)
		return
	}
	program, known := programs[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s: not one of cert-manager's programs that are rehearsed\n", name)
		os.Exit(2)
	}
	logf.InitLogs()
	ctrl.SetLogger(logf.Log)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := program(logf.NewContext(ctx, logf.Log, name), os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
