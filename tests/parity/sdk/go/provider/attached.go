package main

// Resources that belong to a function.

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

func functionURL() {
	name, arn := function("url")
	live := "live"
	must(client.CreateAlias(ctx, &lambda.CreateAliasInput{
		FunctionName: &name, Name: &live, FunctionVersion: aws.String("1"),
	}))
	read := func() object {
		one := must(client.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{
			FunctionName: &name, Qualifier: &live,
		}))
		state := object{
			"authorization_type": one.AuthType, "invoke_mode": one.InvokeMode, "function_arn": one.FunctionArn,
		}
		if cors := one.Cors; cors != nil {
			state["cors"] = object{
				"allow_credentials": aws.ToBool(cors.AllowCredentials), "allow_headers": list(cors.AllowHeaders),
				"allow_methods": list(cors.AllowMethods), "allow_origins": list(cors.AllowOrigins),
				"expose_headers": list(cors.ExposeHeaders), "max_age": aws.ToInt32(cors.MaxAge),
			}
		}
		// Asked at an address, and not at a name, the server answers http://<address>/_lambent/url/<url-id>/.
		parsed := must(url.Parse(*one.FunctionUrl))
		parts := strings.Split(parsed.Path, "/")
		if len(parts) != 5 || parts[1] != "_lambent" || parts[2] != "url" || len(parts[3]) != 32 || parts[4] != "" {
			fail("no function URL: %s", *one.FunctionUrl)
		}
		state["url_id"] = parts[3]
		return state
	}

	step("aws_lambda_function_url: create")
	must(client.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{
		FunctionName: &name, Qualifier: &live, AuthType: types.FunctionUrlAuthTypeNone,
		InvokeMode: types.InvokeModeBuffered,
		Cors:       &types.Cors{AllowOrigins: []string{"*"}, AllowMethods: []string{"GET"}, MaxAge: aws.Int32(60)},
	}))
	public := &lambda.AddPermissionInput{
		FunctionName: &name, Qualifier: &live, StatementId: aws.String("FunctionURLAllowPublicAccess"),
		Action: aws.String("lambda:InvokeFunctionUrl"), Principal: aws.String("*"),
		FunctionUrlAuthType: types.FunctionUrlAuthTypeNone,
	}
	must(client.AddPermission(ctx, public))
	_, err := client.AddPermission(ctx, public)
	var exists *types.ResourceConflictException
	if !errors.As(err, &exists) { // which the provider ignores, and nothing else
		fail("a second statement: %v", err)
	}
	must(client.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &name, Qualifier: &live, StatementId: aws.String("FunctionURLAllowInvokeAction"),
		Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("*"), InvokedViaFunctionUrl: aws.Bool(true),
	}))
	step("aws_lambda_function_url: read")
	id := read()["url_id"]
	configured := object{
		"authorization_type": "NONE", "invoke_mode": "BUFFERED", "function_arn": arn + ":live", "url_id": id,
		"cors": object{
			"allow_credentials": false, "allow_headers": nil, "allow_methods": []string{"GET"},
			"allow_origins": []string{"*"}, "expose_headers": nil, "max_age": 60,
		},
	}
	noDiff(read(), configured)
	step("aws_lambda_function_url: update")
	must(client.UpdateFunctionUrlConfig(ctx, &lambda.UpdateFunctionUrlConfigInput{
		FunctionName: &name, Qualifier: &live, AuthType: types.FunctionUrlAuthTypeAwsIam, Cors: &types.Cors{},
	}))
	delete(configured, "cors")
	configured["authorization_type"] = "AWS_IAM"
	noDiff(read(), configured)
	step("aws_lambda_function_url: delete")
	must(client.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: &name, Qualifier: &live}))
	gone(client.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: &name, Qualifier: &live}))
	gone(client.DeleteFunctionUrlConfig(ctx, &lambda.DeleteFunctionUrlConfigInput{FunctionName: &name, Qualifier: &live}))
	remove(name)
}

func alias() {
	name, arn := function("alias")
	must(client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{
		FunctionName: &name, ZipFile: zips[1], Publish: true,
	}))
	waitUpdated(name)
	live := "live"
	read := func() object {
		one := must(client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &name, Name: &live}))
		state := object{
			"arn": one.AliasArn, "name": one.Name, "description": one.Description, "function_version": one.FunctionVersion,
		}
		if one.RoutingConfig != nil && one.RoutingConfig.AdditionalVersionWeights != nil {
			state["routing_config"] = one.RoutingConfig.AdditionalVersionWeights
		}
		return state
	}
	step("aws_lambda_alias: create") // without a block, an empty routing configuration is sent
	must(client.CreateAlias(ctx, &lambda.CreateAliasInput{
		FunctionName: &arn, Name: &live, FunctionVersion: aws.String("1"), Description: aws.String(""),
		RoutingConfig: &types.AliasRoutingConfiguration{},
	}))
	configured := object{"arn": arn + ":live", "name": live, "description": "", "function_version": "1"}
	noDiff(read(), configured)
	step("aws_lambda_alias: update")
	must(client.UpdateAlias(ctx, &lambda.UpdateAliasInput{
		FunctionName: &name, Name: &live, FunctionVersion: aws.String("2"), Description: aws.String("d"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"1": 0.9}},
	}))
	noDiff(read(), object{
		"arn": arn + ":live", "name": live, "description": "d", "function_version": "2",
		"routing_config": object{"1": 0.9},
	})
	must(client.UpdateAlias(ctx, &lambda.UpdateAliasInput{
		FunctionName: &name, Name: &live, FunctionVersion: aws.String("1"), Description: aws.String(""),
		RoutingConfig: &types.AliasRoutingConfiguration{},
	}))
	noDiff(read(), configured)
	step("aws_lambda_alias: delete")
	must(client.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: &name, Name: &live}))
	gone(client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &name, Name: &live}))
	remove(name)
}

// statement is as the provider declares it: conditions are strings, an action is one.
type statement struct {
	Sid, Effect, Action, Resource string
	Principal                     any
	Condition                     map[string]map[string]string
}

func statements(policy *string) []statement {
	var document struct {
		Version, Id string
		Statement   []statement
	}
	if err := json.Unmarshal([]byte(*policy), &document); err != nil {
		fail("%v in %s", err, *policy)
	}
	return document.Statement
}

func permission() {
	name, arn := function("permission")
	must(client.CreateAlias(ctx, &lambda.CreateAliasInput{
		FunctionName: &name, Name: aws.String("live"), FunctionVersion: aws.String("1"),
	}))
	find := func(qualifier *string, sid string) *statement {
		policy, err := client.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &name, Qualifier: qualifier})
		if err != nil {
			gone(policy, err)
			return nil
		}
		for _, one := range statements(policy.Policy) {
			if one.Sid == sid {
				return &one
			}
		}
		return nil
	}
	read := func(one *statement) object {
		if one == nil {
			fail("the statement is not there")
		}
		state := object{"action": one.Action, "resource": one.Resource, "statement_id": one.Sid, "principal": one.Principal}
		if principal, several := one.Principal.(object); several {
			for _, value := range principal {
				state["principal"] = value
			}
		}
		for argument, condition := range map[string][2]string{
			"source_account":         {"StringEquals", "AWS:SourceAccount"},
			"event_source_token":     {"StringEquals", "lambda:EventSourceToken"},
			"principal_org_id":       {"StringEquals", "aws:PrincipalOrgID"},
			"function_url_auth_type": {"StringEquals", "lambda:FunctionUrlAuthType"},
			"source_arn":             {"ArnLike", "AWS:SourceArn"},
		} {
			if value, given := one.Condition[condition[0]][condition[1]]; given {
				state[argument] = value
			}
		}
		return state
	}
	step("aws_lambda_permission: create")
	live := aws.String("live")
	must(client.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &name, StatementId: aws.String("rule"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("events.amazonaws.com"), SourceArn: aws.String("arn:aws:events:" + at + ":rule/r"),
		SourceAccount: aws.String("000000000000"),
	}))
	must(client.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &arn, Qualifier: live, StatementId: aws.String("url"), Action: aws.String("lambda:InvokeFunctionUrl"),
		Principal: aws.String("*"), FunctionUrlAuthType: types.FunctionUrlAuthTypeAwsIam,
		PrincipalOrgID: aws.String("o-1234567890"),
	}))
	must(client.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &name, Qualifier: live, StatementId: aws.String("alexa"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("alexa-appkit.amazon.com"), EventSourceToken: aws.String("token"),
	}))
	step("aws_lambda_permission: read")
	noDiff(read(find(nil, "rule")), object{
		"action": "lambda:InvokeFunction", "resource": arn, "statement_id": "rule", "principal": "events.amazonaws.com",
		"source_arn": "arn:aws:events:" + at + ":rule/r", "source_account": "000000000000",
	})
	noDiff(read(find(live, "url")), object{
		"action": "lambda:InvokeFunctionUrl", "resource": arn + ":live", "statement_id": "url", "principal": "*",
		"function_url_auth_type": "AWS_IAM", "principal_org_id": "o-1234567890",
	})
	noDiff(read(find(live, "alexa")), object{
		"action": "lambda:InvokeFunction", "resource": arn + ":live", "statement_id": "alexa",
		"principal": "alexa-appkit.amazon.com", "event_source_token": "token",
	})
	step("aws_lambda_permission: delete")
	for sid, qualifier := range map[string]*string{"rule": nil, "url": live, "alexa": live} {
		must(client.RemovePermission(ctx, &lambda.RemovePermissionInput{
			FunctionName: &name, Qualifier: qualifier, StatementId: &sid,
		}))
		if find(qualifier, sid) != nil {
			fail("%s is still there", sid)
		}
		gone(client.RemovePermission(ctx, &lambda.RemovePermissionInput{
			FunctionName: &name, Qualifier: qualifier, StatementId: &sid,
		}))
	}
	remove(name)
}

func provisionedConcurrency() {
	name, _ := function("provisioned")
	one := aws.String("1")
	get := func() (*lambda.GetProvisionedConcurrencyConfigOutput, error) {
		return client.GetProvisionedConcurrencyConfig(ctx, &lambda.GetProvisionedConcurrencyConfigInput{
			FunctionName: &name, Qualifier: one,
		})
	}
	for _, executions := range []int32{1, 2} { // an update is another Put
		step("aws_lambda_provisioned_concurrency_config: %d", executions)
		must(client.PutProvisionedConcurrencyConfig(ctx, &lambda.PutProvisionedConcurrencyConfigInput{
			FunctionName: &name, Qualifier: one, ProvisionedConcurrentExecutions: aws.Int32(executions),
		}))
		settled(func() string { return string(must(get()).Status) }, "READY")
		if allocated := must(get()).AllocatedProvisionedConcurrentExecutions; *allocated != executions {
			fail("allocated are %d", *allocated)
		}
	}
	step("aws_lambda_provisioned_concurrency_config: delete")
	must(client.DeleteProvisionedConcurrencyConfig(ctx, &lambda.DeleteProvisionedConcurrencyConfigInput{
		FunctionName: &name, Qualifier: one,
	}))
	_, err := get()
	var missing *types.ProvisionedConcurrencyConfigNotFoundException
	if !errors.As(err, &missing) {
		fail("not gone: %v", err)
	}
	remove(name)
	_, err = get()
	gone(nil, err)
}

func eventInvokeConfig() {
	name, arn := function("events")
	read := func() object {
		one := must(client.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: &name}))
		state := object{
			"maximum_event_age_in_seconds": one.MaximumEventAgeInSeconds, "maximum_retry_attempts": one.MaximumRetryAttempts,
			"function_arn": one.FunctionArn,
		}
		if to := one.DestinationConfig; to != nil {
			if to.OnSuccess != nil && to.OnSuccess.Destination != nil {
				state["on_success"] = to.OnSuccess.Destination
			}
			if to.OnFailure != nil && to.OnFailure.Destination != nil {
				state["on_failure"] = to.OnFailure.Destination
			}
		}
		return state
	}
	queue, topic := "arn:aws:sqs:"+at+":q", "arn:aws:sns:"+at+":t"
	step("aws_lambda_function_event_invoke_config: create") // the provider sends its default of two retries
	must(client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{
		FunctionName: &name, MaximumRetryAttempts: aws.Int32(2), MaximumEventAgeInSeconds: aws.Int32(60),
		DestinationConfig: &types.DestinationConfig{
			OnSuccess: &types.OnSuccess{Destination: &queue}, OnFailure: &types.OnFailure{Destination: &topic},
		},
	}))
	configured := object{
		"maximum_event_age_in_seconds": 60, "maximum_retry_attempts": 2, "on_success": queue, "on_failure": topic,
		"function_arn": arn + ":$LATEST",
	}
	noDiff(read(), configured)
	step("aws_lambda_function_event_invoke_config: update")
	must(client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{
		FunctionName: &name, MaximumRetryAttempts: aws.Int32(0), DestinationConfig: &types.DestinationConfig{},
	}))
	noDiff(read(), object{"maximum_retry_attempts": 0, "function_arn": arn + ":$LATEST"})
	step("aws_lambda_function_event_invoke_config: delete")
	must(client.DeleteFunctionEventInvokeConfig(ctx, &lambda.DeleteFunctionEventInvokeConfigInput{FunctionName: &name}))
	gone(client.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: &name}))
	gone(client.DeleteFunctionEventInvokeConfig(ctx, &lambda.DeleteFunctionEventInvokeConfigInput{FunctionName: &name}))
	remove(name)
}

func runtimeManagementConfig() {
	name, arn := function("runtime")
	read := func() object {
		one := must(client.GetRuntimeManagementConfig(ctx, &lambda.GetRuntimeManagementConfigInput{FunctionName: &name}))
		return object{
			"update_runtime_on": one.UpdateRuntimeOn, "runtime_version_arn": one.RuntimeVersionArn,
			"function_arn": one.FunctionArn,
		}
	}
	put := func(mode types.UpdateRuntimeOn, version *string) {
		must(client.PutRuntimeManagementConfig(ctx, &lambda.PutRuntimeManagementConfigInput{
			FunctionName: &name, UpdateRuntimeOn: mode, RuntimeVersionArn: version,
		}))
	}
	step("aws_lambda_runtime_management_config: create")
	held := getFunction(name).Configuration.RuntimeVersionConfig.RuntimeVersionArn
	put(types.UpdateRuntimeOnManual, held)
	noDiff(read(), object{
		"update_runtime_on": "Manual", "runtime_version_arn": held, "function_arn": arn + ":$LATEST",
	})
	step("aws_lambda_runtime_management_config: update")
	put(types.UpdateRuntimeOnFunctionUpdate, nil)
	noDiff(read(), object{"update_runtime_on": "FunctionUpdate", "function_arn": arn + ":$LATEST"})
	step("aws_lambda_runtime_management_config: delete") // there is no deletion: the default is put
	put(types.UpdateRuntimeOnAuto, nil)
	noDiff(read(), object{"update_runtime_on": "Auto", "function_arn": arn + ":$LATEST"})
	remove(name)
	gone(client.GetRuntimeManagementConfig(ctx, &lambda.GetRuntimeManagementConfigInput{FunctionName: &name}))
	gone(client.PutRuntimeManagementConfig(ctx, &lambda.PutRuntimeManagementConfigInput{
		FunctionName: &name, UpdateRuntimeOn: types.UpdateRuntimeOnAuto,
	}))
}

func recursionConfig() {
	name, _ := function("recursion")
	for _, loop := range []types.RecursiveLoop{"Allow", "Terminate"} { // the second one is the deletion
		step("aws_lambda_function_recursion_config: %s", loop)
		must(client.PutFunctionRecursionConfig(ctx, &lambda.PutFunctionRecursionConfigInput{
			FunctionName: &name, RecursiveLoop: loop,
		}))
		one := must(client.GetFunctionRecursionConfig(ctx, &lambda.GetFunctionRecursionConfigInput{FunctionName: &name}))
		noDiff(object{"recursive_loop": one.RecursiveLoop}, object{"recursive_loop": loop})
	}
	remove(name)
	gone(client.GetFunctionRecursionConfig(ctx, &lambda.GetFunctionRecursionConfigInput{FunctionName: &name}))
}
