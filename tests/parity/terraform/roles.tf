# Roles and policies, each in every way a configuration gives them.
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

# The provider asks STS and IAM who it is: nothing is skipped that this server answers.
provider "aws" {
  region                  = "us-east-1"
  access_key              = "210987654321"
  secret_key              = "test"
  skip_metadata_api_check = true
  skip_region_validation  = true
  skip_get_ec2_platforms  = true
  endpoints {
    iam = var.endpoint
    sts = var.endpoint
  }
}

data "aws_caller_identity" "me" {}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
    principals {
      type        = "AWS"
      identifiers = [data.aws_caller_identity.me.account_id]
    }
  }
}

data "aws_iam_policy_document" "some" {
  statement {
    actions   = ["s3:GetObject"]
    resources = ["arn:aws:s3:::${var.text}/*"]
  }
}

data "aws_iam_policy" "basic" {
  arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

resource "aws_iam_policy" "own" {
  name        = "${var.prefix}-policy"
  path        = "/team/"
  description = "read ${var.prefix}"
  policy      = data.aws_iam_policy_document.some.json
  tags        = { text = var.text }
}

resource "aws_iam_role" "whole" {
  name                 = "${var.prefix}-whole"
  path                 = "/team/"
  description          = "says ${var.text}"
  max_session_duration = 7200
  permissions_boundary = aws_iam_policy.own.arn
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  tags                 = { text = var.text }
  inline_policy {
    name   = "inline"
    policy = data.aws_iam_policy_document.some.json
  }
}

resource "aws_iam_role" "plain" {
  name_prefix        = "${var.prefix}-plain-"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "separate" {
  role   = aws_iam_role.plain.id
  policy = data.aws_iam_policy_document.some.json
}

resource "aws_iam_role_policy_attachment" "basic" {
  role       = aws_iam_role.plain.name
  policy_arn = data.aws_iam_policy.basic.arn
}

resource "aws_iam_role_policy_attachment" "own" {
  role       = aws_iam_role.plain.name
  policy_arn = aws_iam_policy.own.arn
}
