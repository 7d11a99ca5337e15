# A second target of the rules: straight to Slack, without the worker. It cannot restart a trail or drop a duplicate, and
# it is the alarm that still works when the worker does not. One alert each event costs next to nothing: $0.20 a million.

# EventBridge keeps the token in a secret of its own and shows it to nobody. In Terraform it would have to stand as a
# value, and then in the state; CloudFormation fetches it itself, so here there is only a reference.
resource "aws_cloudformation_stack" "connection" {
  #checkov:skip=CKV_AWS_124:Terraform waits for the stack and reports how it went.

  name = "${var.name}-slack-connection"
  template_body = jsonencode({
    Description = "EventBridge's connection to Slack, for trailkeeper's direct alert"
    Resources = {
      Connection = {
        Type = "AWS::Events::Connection"
        Properties = {
          Name              = "${var.name}-slack"
          AuthorizationType = "API_KEY"
          AuthParameters = {
            ApiKeyAuthParameters = {
              ApiKeyName  = "Authorization"
              ApiKeyValue = "Bearer {{resolve:secretsmanager:${var.slack_bot_token_secret_arn}:SecretString:::${var.slack_bot_token_version_id}}}"
            }
          }
        }
      }
    }
    Outputs = { Arn = { Value = { "Fn::GetAtt" = ["Connection", "Arn"] } } }
  })
}

resource "aws_cloudwatch_event_api_destination" "slack" {
  name                = "${var.name}-slack"
  description         = "Slack's chat.postMessage"
  connection_arn      = aws_cloudformation_stack.connection.outputs["Arn"]
  http_method         = "POST"
  invocation_endpoint = "https://slack.com/api/chat.postMessage"
  # Slack takes one message a second in a channel.
  invocation_rate_limit_per_second = 1
}

resource "aws_cloudwatch_event_target" "slack" {
  for_each = var.rules

  rule           = each.value.name
  event_bus_name = each.value.bus
  target_id      = "slack"
  arn            = aws_cloudwatch_event_api_destination.slack.arn
  role_arn       = aws_iam_role.invoke.arn

  input_transformer {
    input_paths = {
      account = "$.account"
      call    = "$.detail.eventName"
      region  = "$.region"
      source  = "$.source"
      time    = "$.detail.eventTime"
      who     = "$.detail.userIdentity.arn"
    }
    # In an ARN there can be neither quotes nor Slack's < and >, so nobody can write into the message. Whether the call
    # succeeded cannot be said here: most events have no errorCode to show. Not by jsonencode, which would write the
    # place-holders' < as \u003c.
    input_template = <<-JSON
      {"channel": "${var.slack_channel}", "text": "<who> called <call> (<source>) in account <account>, <region>, at <time>. Such a call can stop or weaken CloudTrail. This alert comes from EventBridge itself: what the call did, trailkeeper tells."}
    JSON
  }

  retry_policy {
    # An alert of yesterday helps nobody.
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = var.undelivered_queue.arn
  }
}

# For an API destination EventBridge goes by a role, not by a policy of the target.
resource "aws_iam_role" "invoke" {
  name        = "${var.name}-direct-alert"
  description = "EventBridge calls Slack with it"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.here.account_id } }
    }]
  })
}

data "aws_caller_identity" "here" {}

resource "aws_iam_role_policy" "invoke" {
  name = "call-slack"
  role = aws_iam_role.invoke.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "CallSlack"
      Effect   = "Allow"
      Action   = "events:InvokeApiDestination"
      Resource = aws_cloudwatch_event_api_destination.slack.arn
    }]
  })
}
