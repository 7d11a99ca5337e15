# Where the forwarders of an organization's accounts and Regions send CloudTrail's events. The rule on it is pipeline's:
# give it this bus among event_bus_names. A bus costs nothing; an event that comes from another account or Region costs
# $1 a million.

resource "aws_cloudwatch_event_bus" "central" {
  name = var.name
}

# Any principal of the organization may put events here, but only AWS itself can make one whose source is
# aws.cloudtrail, and the rule wants that.
resource "aws_cloudwatch_event_bus_policy" "organization" {
  event_bus_name = aws_cloudwatch_event_bus.central.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OrganizationSends"
      Effect    = "Allow"
      Principal = "*"
      Action    = "events:PutEvents"
      Resource  = aws_cloudwatch_event_bus.central.arn
      Condition = { StringEquals = { "aws:PrincipalOrgID" = var.organization_id } }
    }]
  })
}
