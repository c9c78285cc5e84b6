# An HTTP API with every part that the provider has for one: routes, both kinds of integrations, both kinds of authorizers, two
# stages, a deployment, a domain name and its mapping. 3.39 has no endpoint key of its own for it: `apigateway` serves both.
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
variable "text" { type = string }

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "321098765432"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
  skip_get_ec2_platforms      = true
  endpoints {
    lambda     = var.endpoint
    iam        = var.endpoint
    sts        = var.endpoint
    apigateway = var.endpoint
  }
}

resource "aws_lambda_function" "hello" {
  function_name = "${var.prefix}-hello"
  role          = "arn:aws:iam::321098765432:role/any"
  filename      = var.code
  handler       = "h"
  runtime       = "provided.al2"
}

resource "aws_apigatewayv2_api" "api" {
  name          = "${var.prefix}-api"
  protocol_type = "HTTP"
  description   = "says ${var.text}"
  cors_configuration {
    allow_origins = ["https://a.example"]
    allow_methods = ["GET", "POST"]
    max_age       = 60
  }
  tags = { team = var.text }
}

resource "aws_apigatewayv2_integration" "function" {
  api_id                 = aws_apigatewayv2_api.api.id
  integration_type       = "AWS_PROXY"
  integration_method     = "POST"
  integration_uri        = aws_lambda_function.hello.invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 20000
}

resource "aws_apigatewayv2_integration" "server" {
  api_id             = aws_apigatewayv2_api.api.id
  integration_type   = "HTTP_PROXY"
  integration_method = "ANY"
  integration_uri    = "https://server.example/{proxy}"
  request_parameters = var.text == "red" ? { "append:header.x-a" = "1", "append:header.x-b" = "2" } : { "append:header.x-a" = "3" }
  response_parameters {
    status_code = "404"
    mappings    = { "overwrite:statuscode" = "200" }
  }
}

resource "aws_apigatewayv2_authorizer" "jwt" {
  api_id           = aws_apigatewayv2_api.api.id
  name             = "jwt"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]
  jwt_configuration {
    audience = [var.text]
    issuer   = "https://issuer.example"
  }
}

resource "aws_apigatewayv2_authorizer" "function" {
  api_id                            = aws_apigatewayv2_api.api.id
  name                              = "function"
  authorizer_type                   = "REQUEST"
  authorizer_uri                    = aws_lambda_function.hello.invoke_arn
  identity_sources                  = ["$request.header.x"]
  authorizer_payload_format_version = "2.0"
  enable_simple_responses           = true
}

resource "aws_apigatewayv2_route" "open" {
  api_id    = aws_apigatewayv2_api.api.id
  route_key = "GET /open/{id}"
  target    = "integrations/${aws_apigatewayv2_integration.function.id}"
}

resource "aws_apigatewayv2_route" "shut" {
  api_id               = aws_apigatewayv2_api.api.id
  route_key            = "ANY /shut/{proxy+}"
  target               = "integrations/${aws_apigatewayv2_integration.server.id}"
  authorization_type   = var.text == "red" ? "JWT" : "CUSTOM"
  authorizer_id        = var.text == "red" ? aws_apigatewayv2_authorizer.jwt.id : aws_apigatewayv2_authorizer.function.id
  authorization_scopes = var.text == "red" ? ["read"] : null
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.api.id
  name        = "$default"
  auto_deploy = true
  default_route_settings {
    throttling_burst_limit = 50
    throttling_rate_limit  = 100
  }
  stage_variables = { text = var.text }
}

resource "aws_apigatewayv2_deployment" "first" {
  api_id      = aws_apigatewayv2_api.api.id
  description = "first"
  depends_on  = [aws_apigatewayv2_route.open, aws_apigatewayv2_route.shut]
}

resource "aws_apigatewayv2_stage" "prod" {
  api_id        = aws_apigatewayv2_api.api.id
  name          = "prod"
  deployment_id = aws_apigatewayv2_deployment.first.id
  tags          = { stage = "prod" }
}

resource "aws_apigatewayv2_domain_name" "name" {
  domain_name = "${var.prefix}.terraform.example"
  domain_name_configuration {
    certificate_arn = "arn:aws:acm:us-east-1:321098765432:certificate/00000000-0000-0000-0000-000000000000"
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "mapping" {
  api_id          = aws_apigatewayv2_api.api.id
  domain_name     = aws_apigatewayv2_domain_name.name.id
  stage           = aws_apigatewayv2_stage.default.id
  api_mapping_key = "v1"
}

resource "aws_lambda_permission" "gateway" {
  statement_id  = "gateway"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.hello.function_name
  principal     = "apigateway.amazonaws.com"
  # execution_arn has no account where skip_requesting_account_id is set
  source_arn = "arn:aws:execute-api:us-east-1:321098765432:${aws_apigatewayv2_api.api.id}/*/*/open/*"
}
