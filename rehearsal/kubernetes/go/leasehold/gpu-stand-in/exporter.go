package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// gauges that an idle GPU would show.
var gauges = []struct {
	name, help string
	value      float64
}{
	{"DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", 345},
	{"DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", 1593},
	{"DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", 30},
	{"DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", 50},
	{"DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", 0},
	{"DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %).", 0},
	{"DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", 0},
	{"DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", 81559},
	{"DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", 0},
}

func render(found []GPU, host string) string {
	var text strings.Builder
	for _, gauge := range gauges {
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s gauge\n", gauge.name, gauge.help, gauge.name)
		for _, gpu := range found {
			fmt.Fprintf(&text, "%s{gpu=%q,UUID=%q,device=%q,modelName=%q,Hostname=%q,DCGM_FI_DRIVER_VERSION=%q} %g\n",
				gauge.name, gpu.Index, gpu.UUID, "nvidia"+gpu.Index, gpu.Name, host, gpu.Driver, gauge.value)
		}
	}
	return text.String()
}

// export serves the gauges. As with the real exporter, there is nothing to serve without a GPU.
func export(address string) error {
	found := waitForGPUs()
	host := os.Getenv("NODE_NAME")
	if host == "" {
		host, _ = os.Hostname()
	}
	text := render(found, host)
	http.HandleFunc("/metrics", func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		fmt.Fprint(response, text)
	})
	http.HandleFunc("/health", func(response http.ResponseWriter, _ *http.Request) { fmt.Fprintln(response, "OK") })
	log.Printf("%d GPUs on %s", len(found), address)
	server := &http.Server{Addr: address, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}
