# The role with which the worker looks at the trails of another account, and restarts them.

data "aws_region" "here" {}

locals {
  task_role      = regex("^arn:(?P<partition>[a-z-]+):iam::(?P<account>[0-9]{12}):", var.task_role_arn)
  policy_version = "2012-10-17"

  template = {
    Description = "Lets trailkeeper restart this account's trails"

    Resources = {
      Role = {
        Type = "AWS::IAM::Role"
        Properties = {
          RoleName    = var.member_role.name
          Description = "trailkeeper restarts this account's trails with it"
          AssumeRolePolicyDocument = {
            Version = local.policy_version
            Statement = [{
              Effect = "Allow"
              # The account, and its roles by a condition. IAM keeps a role that is the principal by its id, not by its ARN: if
              # that role were made anew, this one would no longer trust it, in every account.
              Principal = { AWS = "arn:${local.task_role.partition}:iam::${local.task_role.account}:root" }
              Action    = "sts:AssumeRole"
              Condition = {
                ArnEquals = { "aws:PrincipalArn" = compact([var.task_role_arn, var.operators_role_arn]) }
                StringEquals = {
                  "aws:PrincipalOrgID" = var.organization_id
                  "sts:ExternalId"     = var.member_role.external_id
                }
              }
            }]
          }
          # What the worker calls here, and never StopLogging.
          Policies = [{
            PolicyName = "restart-trails"
            PolicyDocument = {
              Version = local.policy_version
              Statement = [
                {
                  Sid    = "RestartTrails"
                  Effect = "Allow"
                  Action = ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus", "cloudtrail:StartLogging"]
                  Resource = concat(
                    [{ "Fn::Sub" = "arn:$${AWS::Partition}:cloudtrail:*:$${AWS::AccountId}:trail/*" }],
                    var.organization_trail_arns,
                  )
                },
                {
                  # The home Region of one that an event names; for the sweep, all that there are, and who stopped one.
                  Sid      = "FindTrails"
                  Effect   = "Allow"
                  Action   = ["cloudtrail:DescribeTrails", "cloudtrail:ListTrails", "cloudtrail:LookupEvents"]
                  Resource = "*" # They can be given on nothing less.
                },
              ]
            }
          }]
        }
      }
    }
  }
}

module "rollout" {
  source = "../rollout"

  name                    = "${var.name}-member"
  description             = local.template.Description
  template                = jsonencode(local.template)
  organizational_unit_ids = var.organizational_unit_ids
  # A role is the same in all Regions, so one is enough.
  regions = length(var.organizational_unit_ids) > 0 ? [data.aws_region.here.name] : []
  call_as = var.call_as
}
