package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

func getFunction(name string) *lambda.GetFunctionOutput {
	answer := must(client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name}))
	if answer.Code == nil || answer.Configuration == nil {
		fail("GetFunction without Code or Configuration: the provider takes the function for missing")
	}
	return answer
}

func waitCreated(name string) {
	settled(func() string { return string(getFunction(name).Configuration.State) }, "Active", "ActiveNonInvocable")
}

func waitUpdated(name string) {
	settled(func() string { return string(getFunction(name).Configuration.LastUpdateStatus) }, "Successful")
}

// latestVersion is the last item of the last page: the provider takes the order for granted.
func latestVersion(name string) types.FunctionConfiguration {
	var last types.FunctionConfiguration
	pages := lambda.NewListVersionsByFunctionPaginator(client, &lambda.ListVersionsByFunctionInput{
		FunctionName: &name, MaxItems: aws.Int32(10000),
	})
	for pages.HasMorePages() {
		versions := must(pages.NextPage(ctx)).Versions
		last = versions[len(versions)-1]
	}
	return last
}

// readFunction is the state after a refresh.
func readFunction(name string) object {
	answer := getFunction(name)
	one := answer.Configuration
	state := object{
		"function_name": one.FunctionName, "architectures": one.Architectures, "description": one.Description,
		"handler": one.Handler, "runtime": one.Runtime, "role": one.Role, "memory_size": one.MemorySize,
		"timeout": one.Timeout, "package_type": one.PackageType,
		"ephemeral_storage": one.EphemeralStorage.Size, "kms_key_arn": one.KMSKeyArn, "code_sha256": one.CodeSha256,
		"reserved_concurrent_executions": -1, "tracing": "PassThrough", "tags": answer.Tags,
	}
	if len(answer.Tags) == 0 {
		state["tags"] = nil
	}
	if answer.Concurrency != nil {
		state["reserved_concurrent_executions"] = answer.Concurrency.ReservedConcurrentExecutions
	}
	if one.DeadLetterConfig != nil && one.DeadLetterConfig.TargetArn != nil {
		state["dead_letter_config"] = one.DeadLetterConfig.TargetArn
	}
	if one.Environment != nil && len(one.Environment.Variables) > 0 {
		state["environment"] = one.Environment.Variables
	}
	layers := []string{}
	for _, layer := range one.Layers {
		layers = append(layers, *layer.Arn)
	}
	state["layers"] = list(layers)
	if one.TracingConfig != nil {
		state["tracing"] = one.TracingConfig.Mode
	}
	if one.SnapStart != nil && one.SnapStart.ApplyOn != types.SnapStartApplyOnNone {
		state["snap_start"] = one.SnapStart.ApplyOn
	}
	logging := one.LoggingConfig
	state["logging_config"] = object{
		"log_format": logging.LogFormat, "application_log_level": logging.ApplicationLogLevel,
		"system_log_level": logging.SystemLogLevel, "log_group": logging.LogGroup,
	}
	// The block is gone when no security group is left; what VpcId says then must not be a network.
	if vpc := one.VpcConfig; vpc != nil {
		if len(vpc.SecurityGroupIds) > 0 {
			state["vpc_config"] = object{
				"subnet_ids": vpc.SubnetIds, "security_group_ids": vpc.SecurityGroupIds,
				"ipv6_allowed_for_dual_stack": vpc.Ipv6AllowedForDualStack,
			}
		} else if aws.ToString(vpc.VpcId) != "" {
			fail("detached and still in %s", *vpc.VpcId)
		}
	}
	if one.ImageConfigResponse != nil || one.FileSystemConfigs != nil || one.SigningJobArn != nil ||
		one.SigningProfileVersionArn != nil || one.TenancyConfig != nil || one.DurableConfig != nil ||
		one.CapacityProviderConfig != nil {
		fail("a block that nothing configures: %+v", one)
	}
	latest := latestVersion(name)
	state["version"], state["qualified_arn"] = latest.Version, latest.FunctionArn
	signing := must(client.GetFunctionCodeSigningConfig(ctx, &lambda.GetFunctionCodeSigningConfigInput{FunctionName: &name}))
	state["code_signing_config_arn"] = signing.CodeSigningConfigArn
	return state
}

func lambdaFunction() {
	defaultFunction()
	wholeFunction()
}

// defaultFunction has only what the provider requires, and all that it sends on its own.
func defaultFunction() {
	step("aws_lambda_function: create with defaults")
	name := prefix + "-least"
	made := must(client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &name, Role: aws.String(role), Handler: aws.String("app.handler"), Runtime: python,
		Code: &types.FunctionCode{ZipFile: zips[0]}, Description: aws.String(""), MemorySize: aws.Int32(128),
		Timeout: aws.Int32(3), PackageType: types.PackageTypeZip, Publish: false,
	}))
	waitCreated(name)
	step("aws_lambda_function: read defaults")
	noDiff(readFunction(name), object{
		"function_name": name, "architectures": []string{"x86_64"}, "description": "", "handler": "app.handler",
		"runtime": string(python), "role": role, "memory_size": 128, "timeout": 3, "package_type": "Zip",
		"ephemeral_storage": 512, "reserved_concurrent_executions": -1, "tracing": "PassThrough",
		"logging_config": object{
			"log_format": "Text", "application_log_level": "", "system_log_level": "", "log_group": "/aws/lambda/" + name,
		},
		"version": "$LATEST", "qualified_arn": *made.FunctionArn + ":$LATEST", "code_sha256": made.CodeSha256,
	})
	step("aws_lambda_function: delete")
	remove(name)
	gone(client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name}))
}

func wholeFunction() {
	step("aws_lambda_function: create")
	name, layer := prefix+"-whole", prefix+"-layer"
	words := must(client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{
		LayerName: &layer, Content: &types.LayerVersionContentInput{ZipFile: zips[1]},
	}))
	signing := must(client.CreateCodeSigningConfig(ctx, &lambda.CreateCodeSigningConfigInput{
		AllowedPublishers: &types.AllowedPublishers{SigningProfileVersionArns: []string{profile}},
	})).CodeSigningConfig
	made := must(client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &name, Role: aws.String(role), Handler: aws.String("app.handler"), Runtime: "python3.12",
		Code: &types.FunctionCode{ZipFile: zips[0]}, Description: aws.String("d"), MemorySize: aws.Int32(256),
		Timeout: aws.Int32(30), PackageType: types.PackageTypeZip, Publish: true,
		Architectures:        []types.Architecture{types.ArchitectureX8664},
		CodeSigningConfigArn: signing.CodeSigningConfigArn,
		DeadLetterConfig:     &types.DeadLetterConfig{TargetArn: aws.String("arn:aws:sqs:" + at + ":dead")},
		Environment:          &types.Environment{Variables: map[string]string{"COLOUR": "blue"}},
		EphemeralStorage:     &types.EphemeralStorage{Size: aws.Int32(512)},
		KMSKeyArn:            aws.String("arn:aws:kms:" + at + ":key/k"),
		Layers:               []string{*words.LayerVersionArn},
		LoggingConfig: &types.LoggingConfig{
			LogFormat: types.LogFormatJson, ApplicationLogLevel: types.ApplicationLogLevelDebug,
			SystemLogLevel: types.SystemLogLevelWarn, LogGroup: aws.String("/own/group"),
		},
		SnapStart:     &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions},
		TracingConfig: &types.TracingConfig{Mode: types.TracingModeActive},
		VpcConfig: &types.VpcConfig{
			SubnetIds: []string{"subnet-1", "subnet-2"}, SecurityGroupIds: []string{"sg-1"},
			Ipv6AllowedForDualStack: aws.Bool(false),
		},
		Tags: map[string]string{"team": "blue"},
	}))
	waitCreated(name)
	must(client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{
		FunctionName: &name, ReservedConcurrentExecutions: aws.Int32(5),
	}))
	step("aws_lambda_function: read")
	configured := object{
		"function_name": name, "architectures": []string{"x86_64"}, "description": "d", "handler": "app.handler",
		"runtime": "python3.12", "role": role, "memory_size": 256, "timeout": 30, "package_type": "Zip",
		"ephemeral_storage": 512, "reserved_concurrent_executions": 5, "tracing": "Active",
		"kms_key_arn":        "arn:aws:kms:" + at + ":key/k",
		"dead_letter_config": "arn:aws:sqs:" + at + ":dead",
		"environment":        object{"COLOUR": "blue"},
		"layers":             []string{*words.LayerVersionArn},
		"logging_config": object{
			"log_format": "JSON", "application_log_level": "DEBUG", "system_log_level": "WARN", "log_group": "/own/group",
		},
		"snap_start": "PublishedVersions",
		"vpc_config": object{
			"subnet_ids": []string{"subnet-1", "subnet-2"}, "security_group_ids": []string{"sg-1"},
			"ipv6_allowed_for_dual_stack": false,
		},
		"tags": object{"team": "blue"}, "version": "1", "qualified_arn": *made.FunctionArn + ":1",
		"code_signing_config_arn": signing.CodeSigningConfigArn, "code_sha256": made.CodeSha256,
	}
	noDiff(readFunction(name), configured)
	noDiff(readFunction(name), configured) // reading changes nothing

	step("aws_lambda_function: update")
	must(client.DeleteFunctionCodeSigningConfig(ctx, &lambda.DeleteFunctionCodeSigningConfigInput{FunctionName: &name}))
	must(client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &name, Description: aws.String(""), MemorySize: aws.Int32(512), KMSKeyArn: aws.String(""),
		DeadLetterConfig: &types.DeadLetterConfig{TargetArn: aws.String("")},
		Environment:      &types.Environment{Variables: map[string]string{}},
		EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(2048)},
		Layers:           []string{},
		LoggingConfig:    &types.LoggingConfig{LogFormat: types.LogFormatText, LogGroup: aws.String("/own/group")},
		SnapStart:        &types.SnapStart{ApplyOn: types.SnapStartApplyOnNone},
		TracingConfig:    &types.TracingConfig{Mode: types.TracingModePassThrough},
		VpcConfig: &types.VpcConfig{
			SubnetIds: []string{}, SecurityGroupIds: []string{}, Ipv6AllowedForDualStack: aws.Bool(false),
		},
	}))
	waitUpdated(name)
	code := must(client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{
		FunctionName: &name, ZipFile: zips[1], Architectures: []types.Architecture{types.ArchitectureX8664},
	}))
	waitUpdated(name)
	must(client.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: &name}))
	must(client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name}))
	waitUpdated(name)
	must(client.UntagResource(ctx, &lambda.UntagResourceInput{Resource: made.FunctionArn, TagKeys: []string{"team"}}))
	must(client.TagResource(ctx, &lambda.TagResourceInput{
		Resource: made.FunctionArn, Tags: map[string]string{"stage": "test"},
	}))
	step("aws_lambda_function: read the update")
	for _, name := range []string{
		"kms_key_arn", "dead_letter_config", "environment", "layers", "snap_start", "vpc_config", "code_signing_config_arn",
	} {
		delete(configured, name)
	}
	for name, value := range (object{
		"description": "", "memory_size": 512, "ephemeral_storage": 2048, "tracing": "PassThrough",
		"reserved_concurrent_executions": -1, "tags": object{"stage": "test"}, "version": "2",
		"qualified_arn": *made.FunctionArn + ":2", "code_sha256": code.CodeSha256,
		"logging_config": object{
			"log_format": "Text", "application_log_level": "", "system_log_level": "", "log_group": "/own/group",
		},
	}) {
		configured[name] = value
	}
	noDiff(readFunction(name), configured)

	step("aws_lambda_function: delete")
	must(client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}))
	gone(client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name}))
	must(client.DeleteLayerVersion(ctx, &lambda.DeleteLayerVersionInput{LayerName: &layer, VersionNumber: &words.Version}))
	must(client.DeleteCodeSigningConfig(ctx, &lambda.DeleteCodeSigningConfigInput{
		CodeSigningConfigArn: signing.CodeSigningConfigArn,
	}))
}
