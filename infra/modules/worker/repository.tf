resource "aws_ecr_repository" "worker" {
  #checkov:skip=CKV_AWS_136:Its images are built from public sources; ECR encrypts with a key of its own.

  count = var.create_repository ? 1 : 0

  name = var.name
  # A tag that stands for one image for ever is one that can be rolled back to.
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "worker" {
  count = var.create_repository ? 1 : 0

  repository = aws_ecr_repository.worker[0].name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the last ten"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}
