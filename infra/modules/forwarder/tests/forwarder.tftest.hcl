# Plans with the real provider and no account: nothing is asked of AWS. What only an account would tell is given.
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  central_bus_arn = "arn:aws:events:eu-west-1:111122223333:event-bus/trailkeeper"
  event_pattern   = "{\"source\": [\"aws.cloudtrail\"], \"detail\": {\"eventName\": [\"StopLogging\"]}}"
}

run "rule" {
  command = plan

  assert {
    condition     = local.template.Resources.Rule.Properties.EventPattern == { source = ["aws.cloudtrail"], detail = { eventName = ["StopLogging"] } }
    error_message = "The pattern is the one that was given."
  }

  assert {
    condition = local.template.Resources.Rule.Properties.Targets == [{
      Id               = "central"
      Arn              = "arn:aws:events:eu-west-1:111122223333:event-bus/trailkeeper"
      RoleArn          = { "Fn::GetAtt" = ["Role", "Arn"] }
      RetryPolicy      = { MaximumEventAgeInSeconds = 86400, MaximumRetryAttempts = 185 }
      DeadLetterConfig = { Arn = { "Fn::GetAtt" = ["Undelivered", "Arn"] } }
    }]
    error_message = "Straight to the central bus, with a role, and what fails is kept."
  }

  assert {
    condition = local.template.Conditions[local.template.Resources.Rule.Condition] == {
      "Fn::Not" = [{
        "Fn::And" = [
          { "Fn::Equals" = [{ Ref = "AWS::AccountId" }, "111122223333"] },
          { "Fn::Equals" = [{ Ref = "AWS::Region" }, "eu-west-1"] },
        ]
      }]
    }
    error_message = "Everywhere but where the central bus is."
  }
}

run "role" {
  command = plan

  assert {
    condition = local.template.Resources.Role.Properties.AssumeRolePolicyDocument.Statement == [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = { Ref = "AWS::AccountId" } } }
    }]
    error_message = "EventBridge alone, for the sender's own account."
  }

  assert {
    condition = local.template.Resources.Role.Properties.Policies[*].PolicyDocument.Statement == [[{
      Sid      = "Forward"
      Effect   = "Allow"
      Action   = "events:PutEvents"
      Resource = "arn:aws:events:eu-west-1:111122223333:event-bus/trailkeeper"
    }]]
    error_message = "The central bus and no other."
  }
}

run "queue_policy" {
  command = plan

  assert {
    condition = local.template.Resources.UndeliveredPolicy.Properties.PolicyDocument.Statement == [
      {
        Sid       = "RuleSends"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = { "Fn::GetAtt" = ["Undelivered", "Arn"] }
        Condition = { ArnEquals = { "aws:SourceArn" = { "Fn::Sub" = "arn:$${AWS::Partition}:events:$${AWS::Region}:$${AWS::AccountId}:rule/trailkeeper-forward" } } }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = { "Fn::GetAtt" = ["Undelivered", "Arn"] }
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
    error_message = "This rule alone may send, and over TLS alone."
  }
}

run "everywhere" {
  command = plan

  variables {
    organizational_unit_ids = ["r-abcd"]
    regions                 = ["eu-west-1", "us-east-1"]
  }

  assert {
    condition     = output.stack_set_name == "trailkeeper-forwarder"
    error_message = "With units, it is a stack set."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    name            = "Forward"
    event_pattern   = "StopLogging"
    central_bus_arn = "trailkeeper"
    call_as         = "ME"
  }

  expect_failures = [var.name, var.event_pattern, var.central_bus_arn, var.call_as]
}
