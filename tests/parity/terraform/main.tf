# What a user of an older AWS provider deploys: the newest one that a package registry carries. Its runtimes end at
# provided.al2 and python3.8; the function is a shell script, so that it runs everywhere.
terraform {
  required_providers {
    aws = {
      source  = "lambent.test/hashicorp/aws"
      version = "3.39.0"
    }
  }
}

variable "endpoint" { type = string }
variable "prefix" { type = string }
variable "code" { type = string }
variable "layer" { type = string }
variable "colour" { type = string }
variable "weight" { type = number }

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "123456789012"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
  skip_get_ec2_platforms      = true
  endpoints {
    lambda = var.endpoint
    iam    = var.endpoint
    sts    = var.endpoint
  }
}

resource "aws_iam_role" "function" {
  name        = "${var.prefix}-role"
  description = "what the function runs as"
  tags        = { team = "blue" }
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "logs" {
  name   = "logs"
  role   = aws_iam_role.function.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "logs:*", Resource = "*" }] })
}

resource "aws_iam_policy" "queue" {
  name   = "${var.prefix}-queue"
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "sqs:*", Resource = "*" }] })
}

resource "aws_iam_role_policy_attachment" "queue" {
  role       = aws_iam_role.function.name
  policy_arn = aws_iam_policy.queue.arn
}

resource "aws_lambda_layer_version" "words" {
  layer_name          = "${var.prefix}-words"
  filename            = var.layer
  source_code_hash    = filebase64sha256(var.layer)
  compatible_runtimes = ["provided.al2"]
  description         = "words to say"
  license_info        = "Apache-2.0"
}

resource "aws_lambda_code_signing_config" "checked" {
  description = "who may sign"
  allowed_publishers {
    signing_profile_version_arns = ["arn:aws:signer:us-east-1:123456789012:/signing-profiles/prod/abcdefghij"]
  }
  policies { untrusted_artifact_on_deployment = "Warn" }
}

resource "aws_lambda_function" "hello" {
  function_name                  = "${var.prefix}-hello"
  role                           = aws_iam_role.function.arn
  filename                       = var.code
  source_code_hash               = filebase64sha256(var.code)
  runtime                        = "provided.al2"
  handler                        = "hello"
  publish                        = true
  memory_size                    = 256
  timeout                        = 10
  layers                         = [aws_lambda_layer_version.words.arn]
  reserved_concurrent_executions = 5
  code_signing_config_arn        = aws_lambda_code_signing_config.checked.arn
  description                    = "says ${var.colour}"
  tags                           = { team = "blue", colour = var.colour }
  environment { variables = { COLOUR = var.colour } }
  tracing_config { mode = "PassThrough" }
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.hello.arn
  function_version = aws_lambda_function.hello.version
  description      = "what runs"
  dynamic "routing_config" {
    for_each = var.weight > 0 ? [var.weight] : []
    content {
      additional_version_weights = { "1" = routing_config.value }
    }
  }
}

resource "aws_lambda_permission" "bucket" {
  statement_id   = "AllowBucket"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.hello.function_name
  qualifier      = aws_lambda_alias.live.name
  principal      = "s3.amazonaws.com"
  source_arn     = "arn:aws:s3:::${var.prefix}-bucket"
  source_account = "123456789012"
}

resource "aws_lambda_event_source_mapping" "stream" {
  event_source_arn                   = "arn:aws:kinesis:us-east-1:123456789012:stream/${var.prefix}"
  function_name                      = aws_lambda_alias.live.arn
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = 50
  maximum_batching_window_in_seconds = 2
  parallelization_factor             = 2
  maximum_retry_attempts             = 3
  bisect_batch_on_function_error     = true
}

resource "aws_lambda_event_source_mapping" "queue" {
  event_source_arn = "arn:aws:sqs:us-east-1:123456789012:${var.prefix}"
  function_name    = aws_lambda_function.hello.arn
  enabled          = var.colour == "red"
}

resource "aws_lambda_function_event_invoke_config" "live" {
  function_name                = aws_lambda_function.hello.function_name
  qualifier                    = aws_lambda_alias.live.name
  maximum_event_age_in_seconds = 120
  maximum_retry_attempts       = 1
  destination_config {
    on_failure { destination = "arn:aws:sqs:us-east-1:123456789012:${var.prefix}-failed" }
  }
}

resource "aws_lambda_provisioned_concurrency_config" "live" {
  count                             = var.weight > 0 ? 0 : 1
  function_name                     = aws_lambda_function.hello.function_name
  qualifier                         = aws_lambda_alias.live.name
  provisioned_concurrent_executions = 1
}

output "version" { value = aws_lambda_function.hello.version }
output "invoke_arn" { value = aws_lambda_alias.live.invoke_arn }
