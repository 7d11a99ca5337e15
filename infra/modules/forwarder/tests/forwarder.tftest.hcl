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
  event_patterns = {
    cloudtrail    = "{\"source\": [\"aws.cloudtrail\"], \"detail\": {\"eventName\": [\"StopLogging\"]}}"
    organizations = "{\"source\": [\"aws.organizations\"], \"detail\": {\"eventName\": [\"LeaveOrganization\"]}}"
  }
}

run "rule" {
  command = plan

  assert {
    condition = { for id, resource in local.template.Resources : id => [resource.Properties.Name, resource.Properties.EventPattern] if resource.Type == "AWS::Events::Rule" } == {
      Rule              = ["trailkeeper-forward", { source = ["aws.cloudtrail"], detail = { eventName = ["StopLogging"] } }]
      RuleOrganizations = ["trailkeeper-forward-organizations", { source = ["aws.organizations"], detail = { eventName = ["LeaveOrganization"] } }]
    }
    error_message = "Each source has a rule, and its pattern is the one that was given."
  }

  assert {
    condition = local.template.Resources.RuleOrganizations.Properties.Targets == [{
      Id               = "central"
      Arn              = "arn:aws:events:eu-west-1:111122223333:event-bus/trailkeeper"
      RoleArn          = { "Fn::GetAtt" = ["Role", "Arn"] }
      RetryPolicy      = { MaximumEventAgeInSeconds = 86400, MaximumRetryAttempts = 185 }
      DeadLetterConfig = { Arn = { "Fn::GetAtt" = ["Undelivered", "Arn"] } }
    }]
    error_message = "Straight to the central bus, with a role, and what fails is kept."
  }

  assert {
    condition = local.template.Conditions[local.template.Resources.RuleOrganizations.Condition] == {
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
        Sid       = "RulesSend"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = { "Fn::GetAtt" = ["Undelivered", "Arn"] }
        Condition = { ArnEquals = { "aws:SourceArn" = [
          { "Fn::Sub" = "arn:$${AWS::Partition}:events:$${AWS::Region}:$${AWS::AccountId}:rule/trailkeeper-forward" },
          { "Fn::Sub" = "arn:$${AWS::Partition}:events:$${AWS::Region}:$${AWS::AccountId}:rule/trailkeeper-forward-organizations" },
        ] } }
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
    error_message = "These rules alone may send, and over TLS alone."
  }
}

run "long_names" {
  command = plan

  variables {
    name = "a234567890b234567890c234567890d234567890e234567890" # As long as a name may be.
  }

  assert {
    condition     = alltrue([for rule in local.rules : length(rule.Properties.Name) <= 64])
    error_message = "EventBridge takes the rules' names."
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
    event_patterns  = { cloudtrail = "StopLogging" }
    central_bus_arn = "trailkeeper"
    call_as         = "ME"
  }

  expect_failures = [var.name, var.event_patterns, var.central_bus_arn, var.call_as]
}
