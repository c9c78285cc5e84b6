// What the current Terraform AWS provider calls, in its order, with the SDK that it is built on: each resource is created,
// read back until nothing differs from its configuration, changed, read back again, deleted, and looked for in vain.
// The provider's release is not to be had from a package registry; its calls and how it reads the answers are written
// down here, resource by resource.
// Arguments: prefix of all names, files of two zips. Prints the names of the resources that went through.
// PYTHON_RUNTIME in the environment names the runtime of its functions.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// object is one resource as it stands in a configuration or a state; absent blocks and arguments are nil.
type object = map[string]any

const (
	role     = "arn:aws:iam::000000000000:role/test"
	at       = "us-east-1:000000000000"
	patience = 30 * time.Second
	interval = 20 * time.Millisecond
)

var (
	ctx    = context.Background()
	client *lambda.Client
	prefix string
	python = types.Runtime(os.Getenv("PYTHON_RUNTIME")) // one that this machine has
	zips   [2][]byte
	where  string // the resource and step, for what goes wrong
)

func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", where, fmt.Sprintf(format, arguments...))
	os.Exit(1)
}

// must answers the value of a call that has to succeed.
func must[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}

func step(format string, arguments ...any) { where = fmt.Sprintf(format, arguments...) }

// plain makes values comparable that Go types differently and JSON does not.
func plain(value any) any {
	var made any
	if err := json.Unmarshal(must(json.Marshal(value)), &made); err != nil {
		fail("%v", err)
	}
	return made
}

// noDiff is the plan after an apply: what was read is what is configured.
func noDiff(read, configured object) {
	got, wanted := plain(read).(object), plain(configured).(object)
	for name, value := range wanted {
		if !reflect.DeepEqual(got[name], value) {
			fail("%s is %v, configured is %v", name, got[name], value)
		}
	}
	for name, value := range got {
		if _, known := wanted[name]; !known && value != nil {
			fail("%s is %v, which nothing configures", name, value)
		}
	}
}

// gone is how the provider finds out that a resource has disappeared: by the modelled exception, nothing else.
func gone(_ any, err error) {
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		fail("not ResourceNotFoundException but %v", err)
	}
}

// settled polls, as the provider's waiters do, until none of the pending values is read any more.
func settled(read func() string, target ...string) {
	deadline := time.Now().Add(patience)
	for {
		state := read()
		for _, one := range target {
			if state == one {
				return
			}
		}
		if time.Now().After(deadline) {
			fail("still %s, not one of %v", state, target)
		}
		time.Sleep(interval)
	}
}

func list[T any](values []T) any {
	if len(values) == 0 {
		return nil
	}
	return values
}

// function makes a function that other resources need, with version 1; answers its name and ARN.
func function(suffix string) (string, string) {
	step("a function for %s", suffix)
	name := prefix + "-" + suffix
	made := must(client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: python, Handler: aws.String("app.handler"), Role: aws.String(role),
		Code: &types.FunctionCode{ZipFile: zips[0]}, Publish: true,
	}))
	waitUpdated(name)
	return name, *made.FunctionArn
}

func remove(name string) {
	step("the end of %s", name)
	must(client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}))
}

func main() {
	prefix = os.Args[1]
	for i := range zips {
		zips[i] = must(os.ReadFile(os.Args[2+i]))
	}
	client = lambda.NewFromConfig(must(config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(1))))
	resources := []struct {
		name  string
		cycle func()
	}{
		{"aws_lambda_function", lambdaFunction},
		{"aws_lambda_function_url", functionURL},
		{"aws_lambda_event_source_mapping", eventSourceMapping},
		{"aws_lambda_alias", alias},
		{"aws_lambda_permission", permission},
		{"aws_lambda_provisioned_concurrency_config", provisionedConcurrency},
		{"aws_lambda_function_event_invoke_config", eventInvokeConfig},
		{"aws_lambda_layer_version", layerVersion},
		{"aws_lambda_layer_version_permission", layerVersionPermission},
		{"aws_lambda_code_signing_config", codeSigningConfig},
		{"aws_lambda_runtime_management_config", runtimeManagementConfig},
		{"aws_lambda_function_recursion_config", recursionConfig},
	}
	done := []string{}
	for _, resource := range resources {
		where = resource.name
		resource.cycle()
		done = append(done, resource.name)
	}
	fmt.Println(string(must(json.Marshal(done))))
}
