package main

// Resources that stand beside functions.

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const profile = "arn:aws:signer:" + at + ":/signing-profiles/mine/abcdefghij"

func getMapping(uuid *string) *lambda.GetEventSourceMappingOutput {
	return must(client.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: uuid}))
}

func waitMapping(uuid *string) {
	settled(func() string { return *getMapping(uuid).State }, "Enabled", "Disabled")
}

func readMapping(uuid *string) object {
	one := getMapping(uuid)
	state := object{
		"function_arn": one.FunctionArn, "event_source_arn": one.EventSourceArn, "batch_size": one.BatchSize,
		"maximum_batching_window_in_seconds": one.MaximumBatchingWindowInSeconds, "kms_key_arn": one.KMSKeyArn,
		"parallelization_factor": one.ParallelizationFactor, "maximum_retry_attempts": one.MaximumRetryAttempts,
		"maximum_record_age_in_seconds":  one.MaximumRecordAgeInSeconds,
		"bisect_batch_on_function_error": one.BisectBatchOnFunctionError,
		"tumbling_window_in_seconds":     one.TumblingWindowInSeconds, "topics": list(one.Topics), "queues": list(one.Queues),
		"function_response_types": list(one.FunctionResponseTypes), "enabled": *one.State == "Enabled",
	}
	if one.StartingPosition != "" {
		state["starting_position"] = one.StartingPosition
	}
	if one.FilterCriteria != nil {
		patterns := []*string{}
		for _, filter := range one.FilterCriteria.Filters {
			patterns = append(patterns, filter.Pattern)
		}
		state["filter_criteria"] = patterns
	}
	if one.ScalingConfig != nil {
		state["scaling_config"] = one.ScalingConfig.MaximumConcurrency
	}
	if one.MetricsConfig != nil {
		state["metrics_config"] = one.MetricsConfig.Metrics
	}
	if to := one.DestinationConfig; to != nil && to.OnFailure != nil && to.OnFailure.Destination != nil {
		state["destination_config"] = to.OnFailure.Destination
	}
	if tags := must(client.ListTags(ctx, &lambda.ListTagsInput{Resource: one.EventSourceMappingArn})).Tags; len(tags) > 0 {
		state["tags"] = tags
	}
	return state
}

func deleteMapping(uuid *string) {
	must(client.DeleteEventSourceMapping(ctx, &lambda.DeleteEventSourceMappingInput{UUID: uuid}))
	gone(client.GetEventSourceMapping(ctx, &lambda.GetEventSourceMappingInput{UUID: uuid}))
}

func eventSourceMapping() {
	name, function := function("mapping")
	queueMapping(function)
	streamMapping(name, function)
	remove(name)
}

func queueMapping(function string) {
	step("aws_lambda_event_source_mapping: create for a queue")
	queue := "arn:aws:sqs:" + at + ":" + prefix
	pattern := `{"body":{"kind":["order"]}}`
	made := must(client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{
		FunctionName: &function, EventSourceArn: &queue, Enabled: aws.Bool(true),
		FilterCriteria: &types.FilterCriteria{Filters: []types.Filter{{Pattern: &pattern}}},
		ScalingConfig:  &types.ScalingConfig{MaximumConcurrency: aws.Int32(10)},
		MetricsConfig:  &types.EventSourceMappingMetricsConfig{Metrics: []types.EventSourceMappingMetric{"EventCount"}},
		Tags:           map[string]string{"team": "blue"},
	}))
	waitMapping(made.UUID)
	configured := object{
		"function_arn": function, "event_source_arn": queue, "batch_size": 10, "maximum_batching_window_in_seconds": 0,
		"enabled": true, "filter_criteria": []string{pattern}, "scaling_config": 10,
		"metrics_config": []string{"EventCount"}, "tags": object{"team": "blue"},
	}
	noDiff(readMapping(made.UUID), configured)
	step("aws_lambda_event_source_mapping: update for a queue")
	must(client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{
		UUID: made.UUID, FunctionName: aws.String(function + ":1"), Enabled: aws.Bool(false), BatchSize: aws.Int32(100),
		MaximumBatchingWindowInSeconds: aws.Int32(1), FilterCriteria: &types.FilterCriteria{},
		ScalingConfig: &types.ScalingConfig{}, MetricsConfig: &types.EventSourceMappingMetricsConfig{},
	}))
	waitMapping(made.UUID)
	noDiff(readMapping(made.UUID), object{
		"function_arn": function + ":1", "event_source_arn": queue, "batch_size": 100,
		"maximum_batching_window_in_seconds": 1, "enabled": false, "tags": object{"team": "blue"},
	})
	step("aws_lambda_event_source_mapping: delete for a queue")
	deleteMapping(made.UUID)
}

func streamMapping(name, function string) {
	step("aws_lambda_event_source_mapping: create for a stream")
	stream, failed := "arn:aws:kinesis:"+at+":stream/"+prefix, "arn:aws:sqs:"+at+":failed"
	made := must(client.CreateEventSourceMapping(ctx, &lambda.CreateEventSourceMappingInput{
		FunctionName: &name, EventSourceArn: &stream, Enabled: aws.Bool(true), StartingPosition: "LATEST",
	}))
	waitMapping(made.UUID)
	configured := object{
		"function_arn": function, "event_source_arn": stream, "starting_position": "LATEST", "enabled": true,
		// what the provider takes for unset, and what it compares with -1
		"batch_size": 100, "maximum_batching_window_in_seconds": 0, "parallelization_factor": 1,
		"maximum_retry_attempts": -1, "maximum_record_age_in_seconds": -1, "bisect_batch_on_function_error": false,
		"tumbling_window_in_seconds": 0,
	}
	noDiff(readMapping(made.UUID), configured)
	step("aws_lambda_event_source_mapping: update for a stream")
	must(client.UpdateEventSourceMapping(ctx, &lambda.UpdateEventSourceMappingInput{
		UUID: made.UUID, ParallelizationFactor: aws.Int32(10), MaximumRetryAttempts: aws.Int32(0),
		MaximumRecordAgeInSeconds: aws.Int32(60), BisectBatchOnFunctionError: aws.Bool(true),
		TumblingWindowInSeconds: aws.Int32(30), FunctionResponseTypes: []types.FunctionResponseType{"ReportBatchItemFailures"},
		DestinationConfig: &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: &failed}},
	}))
	waitMapping(made.UUID)
	for name, value := range (object{
		"parallelization_factor": 10, "maximum_retry_attempts": 0, "maximum_record_age_in_seconds": 60,
		"bisect_batch_on_function_error": true, "tumbling_window_in_seconds": 30, "destination_config": failed,
		"function_response_types": []string{"ReportBatchItemFailures"},
	}) {
		configured[name] = value
	}
	noDiff(readMapping(made.UUID), configured)
	step("aws_lambda_event_source_mapping: delete for a stream")
	deleteMapping(made.UUID)
}

func publishLayer(name string) *lambda.PublishLayerVersionOutput {
	return must(client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{
		LayerName: &name, Content: &types.LayerVersionContentInput{ZipFile: zips[0]}, Description: aws.String("d"),
		LicenseInfo: aws.String("MIT"), CompatibleRuntimes: []types.Runtime{"python3.11", "python3.12"},
		CompatibleArchitectures: []types.Architecture{"x86_64"},
	}))
}

func deleteLayer(name string, version int64) {
	must(client.DeleteLayerVersion(ctx, &lambda.DeleteLayerVersionInput{LayerName: &name, VersionNumber: &version}))
	gone(client.GetLayerVersion(ctx, &lambda.GetLayerVersionInput{LayerName: &name, VersionNumber: &version}))
}

func layerVersion() {
	name := prefix + "-version"
	for version := range int64(2) { // a change publishes the next version and deletes the one before
		step("aws_lambda_layer_version: create %d", version+1)
		made := publishLayer(name)
		// Its id is the version's ARN: the rest is taken from there.
		parsed := must(arn.Parse(*made.LayerVersionArn))
		if parsed.Resource != "layer:"+name+":"+string(rune('1'+version)) {
			fail("%s", parsed.Resource)
		}
		one := must(client.GetLayerVersion(ctx, &lambda.GetLayerVersionInput{LayerName: &name, VersionNumber: &made.Version}))
		noDiff(object{
			"arn": one.LayerVersionArn, "layer_arn": one.LayerArn, "version": one.Version, "description": one.Description,
			"license_info": one.LicenseInfo, "compatible_runtimes": one.CompatibleRuntimes,
			"compatible_architectures": one.CompatibleArchitectures, "created_date": one.CreatedDate,
			"source_code_hash": one.Content.CodeSha256, "source_code_size": one.Content.CodeSize,
			"signing_job_arn": one.Content.SigningJobArn, "signing_profile_version_arn": one.Content.SigningProfileVersionArn,
		}, object{
			"arn":       made.LayerVersionArn,
			"layer_arn": strings.TrimSuffix(*made.LayerVersionArn, ":"+string(rune('1'+version))), "version": version + 1,
			"description": "d", "license_info": "MIT", "compatible_runtimes": []string{"python3.11", "python3.12"},
			"compatible_architectures": []string{"x86_64"}, "created_date": made.CreatedDate,
			"source_code_hash": made.Content.CodeSha256, "source_code_size": len(zips[0]),
		})
		if version > 0 {
			deleteLayer(name, version)
		}
	}
	step("aws_lambda_layer_version: delete")
	deleteLayer(name, 2)
}

func layerVersionPermission() {
	name := prefix + "-shared"
	layer := publishLayer(name)
	get := func() (*lambda.GetLayerVersionPolicyOutput, error) {
		return client.GetLayerVersionPolicy(ctx, &lambda.GetLayerVersionPolicyInput{
			LayerName: &name, VersionNumber: &layer.Version,
		})
	}
	for principal, organisation := range map[string]*string{"111122223333": nil, "*": aws.String("o-1234567890")} {
		step("aws_lambda_layer_version_permission: create for %s", principal)
		made := must(client.AddLayerVersionPermission(ctx, &lambda.AddLayerVersionPermissionInput{
			LayerName: &name, VersionNumber: &layer.Version, StatementId: aws.String("share"),
			Action: aws.String("lambda:GetLayerVersion"), Principal: &principal, OrganizationId: organisation,
		}))
		policy := must(get())
		one := statements(policy.Policy)[0] // the provider reads the first one
		state := object{
			"action": one.Action, "statement_id": one.Sid, "principal": one.Principal, "revision_id": policy.RevisionId,
		}
		if account, several := one.Principal.(object); several {
			state["principal"] = must(arn.Parse(account["AWS"].(string))).AccountID
		}
		if id, given := one.Condition["StringEquals"]["aws:PrincipalOrgID"]; given {
			state["organization_id"] = id
		}
		noDiff(state, object{
			"action": "lambda:GetLayerVersion", "statement_id": "share", "principal": principal,
			"organization_id": organisation, "revision_id": made.RevisionId,
		})
		step("aws_lambda_layer_version_permission: delete for %s", principal)
		must(client.RemoveLayerVersionPermission(ctx, &lambda.RemoveLayerVersionPermissionInput{
			LayerName: &name, VersionNumber: &layer.Version, StatementId: aws.String("share"),
		}))
		gone(get())
	}
	deleteLayer(name, layer.Version)
	gone(get())
}

func codeSigningConfig() {
	step("aws_lambda_code_signing_config: create")
	made := must(client.CreateCodeSigningConfig(ctx, &lambda.CreateCodeSigningConfigInput{
		AllowedPublishers: &types.AllowedPublishers{SigningProfileVersionArns: []string{profile}},
		Description:       aws.String("d"), Tags: map[string]string{"team": "blue"},
	})).CodeSigningConfig
	id := made.CodeSigningConfigArn
	read := func() object {
		one := must(client.GetCodeSigningConfig(ctx, &lambda.GetCodeSigningConfigInput{CodeSigningConfigArn: id})).CodeSigningConfig
		return object{
			"arn": one.CodeSigningConfigArn, "config_id": one.CodeSigningConfigId, "description": one.Description,
			"allowed_publishers": one.AllowedPublishers.SigningProfileVersionArns,
			"policies":           one.CodeSigningPolicies.UntrustedArtifactOnDeployment,
			"tags":               must(client.ListTags(ctx, &lambda.ListTagsInput{Resource: id})).Tags,
		}
	}
	configured := object{
		"arn": id, "config_id": made.CodeSigningConfigId, "description": "d", "allowed_publishers": []string{profile},
		"policies": "Warn", "tags": object{"team": "blue"},
	}
	noDiff(read(), configured)
	step("aws_lambda_code_signing_config: update")
	must(client.UpdateCodeSigningConfig(ctx, &lambda.UpdateCodeSigningConfigInput{
		CodeSigningConfigArn: id, Description: aws.String(""),
		AllowedPublishers:   &types.AllowedPublishers{SigningProfileVersionArns: []string{profile, profile + "2"}},
		CodeSigningPolicies: &types.CodeSigningPolicies{UntrustedArtifactOnDeployment: types.CodeSigningPolicyEnforce},
	}))
	configured["description"], configured["policies"] = "", "Enforce"
	configured["allowed_publishers"] = []string{profile, profile + "2"}
	noDiff(read(), configured)
	step("aws_lambda_code_signing_config: delete")
	must(client.DeleteCodeSigningConfig(ctx, &lambda.DeleteCodeSigningConfigInput{CodeSigningConfigArn: id}))
	gone(client.GetCodeSigningConfig(ctx, &lambda.GetCodeSigningConfigInput{CodeSigningConfigArn: id}))
	gone(client.DeleteCodeSigningConfig(ctx, &lambda.DeleteCodeSigningConfigInput{CodeSigningConfigArn: id}))
}
