package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	socket  = "leasehold-gpu.sock"
	replica = "::" // between a GPU's UUID and the number of a share, as in NVIDIA's plugin
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	resource string
	devices  []*api.Device
	exact    bool // a container may ask for one share only
	ended    chan struct{}
}

// plug serves one resource until the kubelet is started again, then registers anew.
func plug(configFile string) error {
	config, err := load(configFile)
	if err != nil {
		return err
	}
	for {
		if err := serve(newPlugin(config, waitForGPUs())); err != nil {
			return err
		}
		log.Print("the kubelet has started again: registering anew")
	}
}

func newPlugin(config Config, found []GPU) *plugin {
	share := config.share("nvidia.com/gpu")
	made := &plugin{resource: share.resource, exact: share.exact, ended: make(chan struct{})}
	for _, gpu := range found {
		for number := 0; number < share.replicas; number++ {
			id := gpu.UUID
			if share.replicas > 1 {
				id = fmt.Sprintf("%s%s%d", gpu.UUID, replica, number)
			}
			made.devices = append(made.devices, &api.Device{ID: id, Health: api.Healthy})
		}
	}
	return made
}

func serve(p *plugin) error {
	path := filepath.Join(api.DevicePluginPath, socket)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	go server.Serve(listener)
	defer server.Stop()
	defer close(p.ended)
	if err := register(p.resource); err != nil {
		return err
	}
	log.Printf("registered %s: %d devices", p.resource, len(p.devices))
	// A kubelet that starts removes every socket of its folder.
	for {
		time.Sleep(2 * time.Second)
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return nil
		}
	}
}

func register(resource string) error {
	connection, err := grpc.NewClient("unix://"+api.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: socket, ResourceName: resource}
	_, err = api.NewRegistrationClient(connection).Register(ctx, request, grpc.WaitForReady(true))
	return err
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
	case <-p.ended:
	}
	return nil
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		if p.exact && len(container.DevicesIds) > 1 {
			return nil, fmt.Errorf("request for %q: at most 1 share of a GPU may be requested", p.resource)
		}
		visible := map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(whole(container.DevicesIds), ",")}
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{Envs: visible})
	}
	return response, nil
}

// whole returns the GPUs behind shares, each once, in order.
func whole(ids []string) []string {
	var found []string
	seen := map[string]bool{}
	for _, id := range ids {
		uuid, _, _ := strings.Cut(id, replica)
		if !seen[uuid] {
			seen[uuid] = true
			found = append(found, uuid)
		}
	}
	return found
}
