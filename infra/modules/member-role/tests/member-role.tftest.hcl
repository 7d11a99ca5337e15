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
  task_role_arn   = "arn:aws:iam::111122223333:role/trailkeeper-task"
  organization_id = "o-abcdefghij"
}

run "trust" {
  command = plan

  assert {
    condition = local.template.Resources.Role.Properties.AssumeRolePolicyDocument.Statement == [{
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::111122223333:role/trailkeeper-task" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:PrincipalOrgID" = "o-abcdefghij", "sts:ExternalId" = "trailkeeper" } }
    }]
    error_message = "The task role alone, in this organization, with the external id."
  }
}

run "rights" {
  command = plan

  assert {
    condition = local.template.Resources.Role.Properties.Policies[*].PolicyDocument.Statement == [[
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
        Resource = "*"
      },
    ]]
    error_message = "To look and to restart, in the account's own trails, and nothing else."
  }
}

run "everywhere" {
  command = plan

  variables {
    organizational_unit_ids = ["ou-abcd-12345678"]
  }

  assert {
    condition     = output.stack_set_name == "trailkeeper-member" && output.role_name == "trailkeeper-member"
    error_message = "With units, it is a stack set, and the role has one name everywhere."
  }
}

run "refuses_what_cannot_work" {
  command = plan

  variables {
    name            = "member_role"
    task_role_arn   = "trailkeeper-task"
    organization_id = "abcdefghij"
    external_id     = "?"
    call_as         = "ME"
  }

  expect_failures = [var.name, var.task_role_arn, var.organization_id, var.external_id, var.call_as]
}
