# The role with which the worker restarts trails in another account.
#
# THIS VERSION OF THE WORKER DOES NOT USE IT YET: it acts in its own account alone, and refuses to start with
# TRAILKEEPER_MEMBER_ROLE or TRAILKEEPER_EXTERNAL_ID. Rolled out now, the role waits.

data "aws_region" "here" {}

locals {
  role_name      = "${var.name}-member"
  policy_version = "2012-10-17"

  template = {
    Description = "Lets trailkeeper restart this account's trails"

    Resources = {
      Role = {
        Type = "AWS::IAM::Role"
        Properties = {
          RoleName    = local.role_name
          Description = "trailkeeper restarts this account's trails with it"
          AssumeRolePolicyDocument = {
            Version = local.policy_version
            Statement = [{
              Effect    = "Allow"
              Principal = { AWS = var.task_role_arn }
              Action    = "sts:AssumeRole"
              Condition = {
                StringEquals = {
                  "aws:PrincipalOrgID" = var.organization_id
                  "sts:ExternalId"     = var.external_id
                }
              }
            }]
          }
          # The same as the worker may do in its own account.
          Policies = [{
            PolicyName = "restart-trails"
            PolicyDocument = {
              Version = local.policy_version
              Statement = [
                {
                  Sid      = "RestartTrails"
                  Effect   = "Allow"
                  Action   = ["cloudtrail:GetTrailStatus", "cloudtrail:StartLogging"]
                  Resource = { "Fn::Sub" = "arn:$${AWS::Partition}:cloudtrail:*:$${AWS::AccountId}:trail/*" }
                },
                {
                  Sid      = "FindHomeRegions"
                  Effect   = "Allow"
                  Action   = "cloudtrail:DescribeTrails"
                  Resource = "*" # It can be given on nothing less.
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

  name                    = local.role_name
  description             = local.template.Description
  template                = jsonencode(local.template)
  organizational_unit_ids = var.organizational_unit_ids
  # A role is the same in all Regions, so one is enough.
  regions = length(var.organizational_unit_ids) > 0 ? [data.aws_region.here.name] : []
  call_as = var.call_as
}
