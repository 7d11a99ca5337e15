# CloudTrail's events arrive only on the default bus of the account and Region of the call. From each of these, rules send
# them to the central bus: in one hop, since EventBridge does not pass on what comes from another bus twice.
#
# A template rather than resources, so that one text serves for this account and for all of an organization.

locals {
  bus            = regex("^arn:[a-z-]+:events:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):", var.central_bus_arn)
  undelivered    = { "Fn::GetAtt" = ["Undelivered", "Arn"] }
  policy_version = "2012-10-17"

  # By logical id, one for each source.
  rules = {
    for source, pattern in var.event_patterns : source == "cloudtrail" ? "Rule" : "Rule${title(source)}" => {
      Type      = "AWS::Events::Rule"
      Condition = "Elsewhere"
      Properties = {
        # A rule's name has 64 characters at most, and -forward-organizations is 22 of them.
        Name         = source == "cloudtrail" ? "${var.name}-forward" : "${substr(var.name, 0, 42)}-forward-${source}"
        Description  = "Calls that switch CloudTrail off or weaken it, for trailkeeper"
        EventPattern = jsondecode(pattern)
        State        = "ENABLED"
        Targets = [{
          Id  = "central"
          Arn = var.central_bus_arn
          # A bus of another account or Region is reached with a role of the sender.
          RoleArn          = { "Fn::GetAtt" = ["Role", "Arn"] }
          RetryPolicy      = { MaximumEventAgeInSeconds = 86400, MaximumRetryAttempts = 185 }
          DeadLetterConfig = { Arn = local.undelivered }
        }]
      }
    }
  }

  template = {
    Description = "Forwards CloudTrail's events to trailkeeper"

    Conditions = {
      # There pipeline's rule takes the events from the default bus itself; forwarded, they would come twice.
      Elsewhere = {
        "Fn::Not" = [{
          "Fn::And" = [
            { "Fn::Equals" = [{ Ref = "AWS::AccountId" }, local.bus.account] },
            { "Fn::Equals" = [{ Ref = "AWS::Region" }, local.bus.region] },
          ]
        }]
      }
    }

    Resources = merge(local.rules, {
      # No name: it would have to differ from Region to Region.
      Role = {
        Type = "AWS::IAM::Role"
        Properties = {
          Description = "EventBridge forwards CloudTrail's events to trailkeeper with it"
          AssumeRolePolicyDocument = {
            Version = local.policy_version
            Statement = [{
              Effect    = "Allow"
              Principal = { Service = "events.amazonaws.com" }
              Action    = "sts:AssumeRole"
              Condition = { StringEquals = { "aws:SourceAccount" = { Ref = "AWS::AccountId" } } }
            }]
          }
          Policies = [{
            PolicyName = "forward"
            PolicyDocument = {
              Version = local.policy_version
              Statement = [{
                Sid      = "Forward"
                Effect   = "Allow"
                Action   = "events:PutEvents"
                Resource = var.central_bus_arn
              }]
            }
          }]
        }
      }

      # What could not be forwarded. It must be in the rule's account and Region.
      Undelivered = {
        Type = "AWS::SQS::Queue"
        Properties = {
          SqsManagedSseEnabled   = true
          MessageRetentionPeriod = 14 * 24 * 60 * 60
        }
      }

      UndeliveredPolicy = {
        Type = "AWS::SQS::QueuePolicy"
        Properties = {
          Queues = [{ Ref = "Undelivered" }]
          PolicyDocument = {
            Version = local.policy_version
            Statement = [
              {
                Sid       = "RulesSend"
                Effect    = "Allow"
                Principal = { Service = "events.amazonaws.com" }
                Action    = "sqs:SendMessage"
                Resource  = local.undelivered
                Condition = { ArnEquals = { "aws:SourceArn" = [for rule in local.rules : {
                  "Fn::Sub" = "arn:$${AWS::Partition}:events:$${AWS::Region}:$${AWS::AccountId}:rule/${rule.Properties.Name}"
                }] } }
              },
              {
                Sid       = "TlsOnly"
                Effect    = "Deny"
                Principal = "*"
                Action    = "sqs:*"
                Resource  = local.undelivered
                Condition = { Bool = { "aws:SecureTransport" = "false" } }
              },
            ]
          }
        }
      }
    })
  }
}

module "rollout" {
  source = "../rollout"

  name                    = "${var.name}-forwarder"
  description             = local.template.Description
  template                = jsonencode(local.template)
  organizational_unit_ids = var.organizational_unit_ids
  regions                 = var.regions
  call_as                 = var.call_as
}
