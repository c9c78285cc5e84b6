// A function's life as the AWS SDK for Go v2 drives it, from its layer to its deletion.
// Arguments: name, files of the first zip, the second and the layer's. Prints one JSON document of what the SDK parsed.
// PYTHON_RUNTIME in the environment names the runtime of its functions.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

type object = map[string]any

var (
	ctx    = context.Background()
	client *lambda.Client
	name   = os.Args[1]
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// must answers the value of a call that has to succeed.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func refusal(_ any, err error) object {
	var answer smithy.APIError
	var response *awshttp.ResponseError
	if !errors.As(err, &answer) || !errors.As(err, &response) {
		check(fmt.Errorf("a call that had to be refused was not: %v", err))
	}
	return object{"code": answer.ErrorCode(), "message": answer.ErrorMessage(), "status": response.HTTPStatusCode()}
}

func parsed(document *string) any {
	var value any
	check(json.Unmarshal([]byte(*document), &value))
	return value
}

func invoke(event, qualifier string) (object, error) {
	input := &lambda.InvokeInput{FunctionName: &name, Payload: []byte(event), LogType: types.LogTypeTail}
	if qualifier != "" {
		input.Qualifier = &qualifier
	}
	answer, err := client.Invoke(ctx, input)
	if err != nil {
		return nil, err
	}
	document := object{}
	check(json.Unmarshal(answer.Payload, &document))
	document["tail"] = aws.ToString(answer.LogResult) != ""
	document["ran"] = aws.ToString(answer.ExecutedVersion)
	return document, nil
}

// configuration is what all answers that show a function have in common.
type configuration struct {
	arn, version    *string
	runtime         types.Runtime
	memory, timeout *int32
	ephemeral       *types.EphemeralStorage
	architectures   []types.Architecture
	environment     *types.EnvironmentResponse
	layers          []types.Layer
	logging         *types.LoggingConfig
	tracing         *types.TracingConfigResponse
	snap            *types.SnapStartResponse
	size            int64
	state           types.State
	update          types.LastUpdateStatus
}

func (c configuration) shown() object {
	layers := []string{}
	for _, layer := range c.layers {
		layers = append(layers, *layer.Arn)
	}
	shown := object{
		"arn": c.arn, "version": c.version, "runtime": c.runtime, "memory": c.memory, "timeout": c.timeout,
		"ephemeral": c.ephemeral.Size, "architectures": c.architectures, "environment": c.environment.Variables,
		"layers": layers, "log": c.logging.ApplicationLogLevel, "tracing": c.tracing.Mode,
		"snap": c.snap.OptimizationStatus, "size": c.size, "state": nil, "update": nil,
	}
	if c.state != "" {
		shown["state"] = c.state
	}
	if c.update != "" {
		shown["update"] = c.update
	}
	return shown
}

func updated() {
	waiter := lambda.NewFunctionUpdatedV2Waiter(client, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 100*time.Millisecond
	})
	check(waiter.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, 30*time.Second))
}

func colour(value string) *types.Environment {
	return &types.Environment{Variables: map[string]string{"COLOUR": value}}
}

func main() {
	client = lambda.NewFromConfig(must(config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(1))))
	first, second, words := must(os.ReadFile(os.Args[2])), must(os.ReadFile(os.Args[3])), must(os.ReadFile(os.Args[4]))
	seen := object{}

	layer := must(client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{
		LayerName:          &name,
		Content:            &types.LayerVersionContentInput{ZipFile: words},
		CompatibleRuntimes: []types.Runtime{"python3.11"},
		Description:        aws.String("words"),
	}))
	seen["layer"] = object{
		"arn": layer.LayerVersionArn, "version": layer.Version, "runtimes": layer.CompatibleRuntimes,
	}
	wanted := &lambda.CreateFunctionInput{
		FunctionName:     &name,
		Runtime:          types.Runtime(os.Getenv("PYTHON_RUNTIME")),
		Handler:          aws.String("app.handler"),
		Role:             aws.String("arn:aws:iam::000000000000:role/test"),
		Code:             &types.FunctionCode{ZipFile: first},
		Environment:      colour("blue"),
		Layers:           []string{*layer.LayerVersionArn},
		MemorySize:       aws.Int32(256),
		EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(1024)},
		LoggingConfig:    &types.LoggingConfig{LogFormat: types.LogFormatJson},
		Tags:             map[string]string{"team": "blue"},
	}
	made := must(client.CreateFunction(ctx, wanted))
	seen["created"] = configuration{
		made.FunctionArn, made.Version, made.Runtime, made.MemorySize, made.Timeout, made.EphemeralStorage,
		made.Architectures, made.Environment, made.Layers, made.LoggingConfig, made.TracingConfig, made.SnapStart,
		made.CodeSize, made.State, made.LastUpdateStatus,
	}.shown()
	seen["taken"] = refusal(client.CreateFunction(ctx, wanted))
	active := lambda.NewFunctionActiveV2Waiter(client, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 100*time.Millisecond
	})
	check(active.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, 30*time.Second))
	seen["first"] = must(invoke(`{"n": 1}`, ""))
	code := must(client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: second}))
	seen["updated"] = configuration{
		code.FunctionArn, code.Version, code.Runtime, code.MemorySize, code.Timeout, code.EphemeralStorage,
		code.Architectures, code.Environment, code.Layers, code.LoggingConfig, code.TracingConfig, code.SnapStart,
		code.CodeSize, code.State, code.LastUpdateStatus,
	}.shown()
	updated()
	must(client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Environment: colour("red"), Timeout: aws.Int32(9),
	}))
	updated()
	seen["second"] = must(invoke(`{"n": 2}`, ""))
	read := must(client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name})).Configuration
	seen["read"] = configuration{
		read.FunctionArn, read.Version, read.Runtime, read.MemorySize, read.Timeout, read.EphemeralStorage,
		read.Architectures, read.Environment, read.Layers, read.LoggingConfig, read.TracingConfig, read.SnapStart,
		read.CodeSize, read.State, read.LastUpdateStatus,
	}.shown()
	seen["invalid"] = refusal(client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Timeout: aws.Int32(901),
	}))

	one := must(client.PublishVersion(ctx, &lambda.PublishVersionInput{
		FunctionName: &name, Description: aws.String("one"),
	}))
	seen["published"] = one.Version
	must(client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Environment: colour("green"),
	}))
	updated()
	must(client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name}))
	published := lambda.NewPublishedVersionActiveWaiter(client, func(o *lambda.PublishedVersionActiveWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 100*time.Millisecond
	})
	version := &lambda.GetFunctionConfigurationInput{FunctionName: &name, Qualifier: aws.String("2")}
	check(published.Wait(ctx, version, 30*time.Second))
	versions := []string{}
	pages := lambda.NewListVersionsByFunctionPaginator(client, &lambda.ListVersionsByFunctionInput{
		FunctionName: &name, MaxItems: aws.Int32(2),
	})
	for pages.HasMorePages() {
		for _, version := range must(pages.NextPage(ctx)).Versions {
			versions = append(versions, *version.Version)
		}
	}
	seen["versions"] = versions
	alias := must(client.CreateAlias(ctx, &lambda.CreateAliasInput{
		FunctionName: &name, Name: aws.String("live"), FunctionVersion: aws.String("1"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 1.0}},
	}))
	seen["alias"] = object{
		"arn": alias.AliasArn, "version": alias.FunctionVersion, "weights": alias.RoutingConfig.AdditionalVersionWeights,
	}
	seen["weighted"] = must(invoke(`{"n": 3}`, "live"))
	moved := must(client.UpdateAlias(ctx, &lambda.UpdateAliasInput{
		FunctionName: &name, Name: aws.String("live"), RevisionId: alias.RevisionId,
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.25}},
	}))
	seen["moved"] = moved.RoutingConfig.AdditionalVersionWeights
	seen["stale"] = refusal(client.UpdateAlias(ctx, &lambda.UpdateAliasInput{
		FunctionName: &name, Name: aws.String("live"), RevisionId: alias.RevisionId,
	}))
	permission := must(client.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &name, Qualifier: aws.String("live"), StatementId: aws.String("bucket"),
		Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("s3.amazonaws.com"),
		SourceArn: aws.String("arn:aws:s3:::bucket"),
	}))
	seen["statement"] = parsed(permission.Statement)
	policy := must(client.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &name, Qualifier: aws.String("live")}))
	seen["policy"] = parsed(policy.Policy)
	must(client.TagResource(ctx, &lambda.TagResourceInput{
		Resource: made.FunctionArn, Tags: map[string]string{"stage": "test", "with space": "é"},
	}))
	must(client.UntagResource(ctx, &lambda.UntagResourceInput{
		Resource: made.FunctionArn, TagKeys: []string{"team", "unknown"},
	}))
	seen["tags"] = must(client.ListTags(ctx, &lambda.ListTagsInput{Resource: made.FunctionArn})).Tags

	must(client.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: &name, Name: aws.String("live")}))
	must(client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}))
	must(client.DeleteLayerVersion(ctx, &lambda.DeleteLayerVersionInput{
		LayerName: &name, VersionNumber: &layer.Version,
	}))
	_, err := invoke(`{}`, "")
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		check(fmt.Errorf("a deleted function was not refused as missing: %v", err))
	}
	seen["gone"] = refusal(nil, err)
	check(json.NewEncoder(os.Stdout).Encode(seen))
}
